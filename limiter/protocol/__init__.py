"""The protocol with Redis, without I/O: encode a call, decode its reply."""
