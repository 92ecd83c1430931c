"""Benchmarks: each prints a table and the ratio to its reference. See RESULTS.md for the last run."""
