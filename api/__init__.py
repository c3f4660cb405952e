"""The sidecar. `front.py` draws the way of one request; read on in `resolve.py`, `view.py` and `numbers.py`.

`routes/` and `identity/` are what `resolve` asks. `v1/` is the decision API. `proxy/` passes admitted requests on. `config/` compiles
the file into `rules.py`. `registry/` stores accounts and keys. `control/` is the admin listener, `server/` what runs it all, and `cli/`
the command line.
"""
