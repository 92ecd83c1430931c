"""Limits on the parsers and on the programs that they run."""
