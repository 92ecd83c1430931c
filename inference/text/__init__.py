"""Text around the model: chat templates, detokenizing, citations, the RAG prompt, and rewriting of questions."""
