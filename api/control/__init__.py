"""The control plane: an HTTP API with its documentation, for operators. It has its own listener; `admin` puts it together."""
