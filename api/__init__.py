"""The front. A request's way: `server/protocol.py` -> `front.py` -> `identify.py` -> `routing.py` -> the limiter -> `numbers.py`.

`config/` makes the rules that it goes by out of a file, `proxy/` passes on what was admitted, `server/` is what runs, `keys/` and
`admin.py` are the control plane, `cli/` the command line.
"""
