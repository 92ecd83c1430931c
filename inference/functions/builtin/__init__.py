"""Functions that ship with the server. A new module here is found by itself."""
