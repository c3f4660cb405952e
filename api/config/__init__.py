"""The configuration: from a YAML file to the rules in force."""
