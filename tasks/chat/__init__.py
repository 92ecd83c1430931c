"""Chat and RAG chat: generation for jobs, rounds of function calls, and what an interrupted attempt resumes from."""
