"""The models on disk: what their files say of them, their names, and the library of all of them."""
