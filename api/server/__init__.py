"""`limiter serve`: its processes, listeners and shutdown."""
