"""Searches and embeddings for jobs."""
