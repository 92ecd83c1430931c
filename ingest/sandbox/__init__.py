"""Limits on parsers and on the programs that they call."""
