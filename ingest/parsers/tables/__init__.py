"""Tables of every format: typed cells, resolved spans, detected headers, and their text as records."""
