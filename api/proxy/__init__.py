"""The reverse proxy, from the client's connection to upstream's."""
