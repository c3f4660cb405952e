"""What the person who starts the sidecar sets: options, and variables of the environment."""
