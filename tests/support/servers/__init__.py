"""Real servers: Redis, the sidecar, and nginx in front of it."""
