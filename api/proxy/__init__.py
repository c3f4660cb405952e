"""The reverse proxy: what it takes in, what it passes on, and the connections to upstream."""
