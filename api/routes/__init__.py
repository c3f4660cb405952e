"""Routes: which rule of the configuration a request falls under."""
