"""The built-in functions. Every module in this folder is imported automatically."""
