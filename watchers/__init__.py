"""The watched folders, mirrored into the catalog. `python -m watchers` runs it."""
