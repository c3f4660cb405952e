"""The benches of `make bench`: a module for each table, and the code that they share."""
