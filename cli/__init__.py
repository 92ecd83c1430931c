"""The `llm-api` command: starting, watching and stopping the stack, and a client of its API."""
