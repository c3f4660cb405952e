"""The life of `limiter serve`: what is started, what listens, and how it ends."""
