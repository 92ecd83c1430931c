"""Search: from the texts of a request to relevant chunks."""
