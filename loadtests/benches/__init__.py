"""What `make bench` measures: a module for each table, and what they share."""
