"""`llm-api doctor`: what is wrong with this installation, in plain words, each with its remedy."""
