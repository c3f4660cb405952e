"""The control plane: health, limits in force, accounts and keys, for operators."""
