"""A proxy between a raw client and a raw upstream."""
