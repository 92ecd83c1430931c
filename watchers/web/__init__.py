"""Watched web pages, feeds and sitemaps."""
