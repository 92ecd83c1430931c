"""Continuous batching: scheduler, sequences, prompt cache, and the port to llama.cpp."""
