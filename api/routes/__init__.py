"""Routes: which rule of the configuration applies to a request."""
