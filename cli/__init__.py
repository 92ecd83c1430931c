"""The `llm-api` command: it starts, supervises and stops the stack, and is a client of its API."""
