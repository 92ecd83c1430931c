"""Documents to searchable chunks: parsing, chunking, embedding, the vector store and retrieval."""
