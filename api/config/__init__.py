"""The configuration: a YAML file, checked and compiled to rules."""
