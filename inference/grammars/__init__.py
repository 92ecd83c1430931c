"""Grammars that constrain an answer: JSON schemas, tool calls, and the formats in which models write calls."""
