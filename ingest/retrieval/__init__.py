"""Search: from a query to relevant chunks."""
