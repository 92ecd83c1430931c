"""Grammars that an answer must obey: JSON schemas, tool calls, and the call formats of models."""
