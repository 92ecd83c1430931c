"""From chunks to points in a vector store."""
