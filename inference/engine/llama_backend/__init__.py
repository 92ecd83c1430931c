"""llama.cpp behind the `Backend` port. The only package that imports `llama_cpp`."""

from inference.engine.llama_backend.backend import LlamaBackend
from inference.engine.llama_backend.loading import faster_starter

__all__ = ["LlamaBackend", "faster_starter"]
