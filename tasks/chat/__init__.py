"""Chat and RAG chat: generation for jobs, rounds of function calls, and resuming a lost attempt."""
