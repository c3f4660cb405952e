"""The log: its format, and the lines of the access log."""
