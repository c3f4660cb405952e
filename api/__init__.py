"""The front."""
