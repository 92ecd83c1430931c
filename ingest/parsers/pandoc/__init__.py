"""Formats that are parsed through pandoc: OpenDocument text, reStructuredText and Org."""
