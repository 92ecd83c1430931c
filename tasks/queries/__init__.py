"""Jobs that search and embed."""
