"""Benchmarks. Each prints a table and the ratio to its reference; RESULTS.md has the last runs."""
