"""Indexing: from chunks to points in a vector store."""
