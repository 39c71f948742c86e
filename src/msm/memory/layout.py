"""The layout picture and the linter."""
