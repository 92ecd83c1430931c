"""The embedding model: its files, its tokenizer, and the thread that embeds."""
