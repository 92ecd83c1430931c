"""Text before and after the model: chat templates, detokenizing, citations, the RAG prompt, and question rewriting."""
