"""What is read through pandoc: OpenDocument texts, reStructuredText and Org."""
