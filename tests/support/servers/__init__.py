"""Real servers: Redis, the sidecar, and gateways in front of it."""
