"""The conversation with Redis as pure functions (sans-IO): encode a call, decode its reply."""
