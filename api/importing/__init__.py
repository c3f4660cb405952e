"""Configurations of other limiters, translated into ours: `limiter import`.

`draft.py` is what all of them produce: a configuration, and notes about what could not be translated. `nginx.py` and `envoy_ratelimit.py`
read one format each.
"""
