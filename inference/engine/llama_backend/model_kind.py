"""What kind of model a GGUF file holds, and what the KV cache can do for it. Models that do not write are refused."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from core.errors import ConfigurationError

#: Architectures whose tokens attend to those of their own chunk of the window's length, not to a window that slides.
CHUNKED_ARCHITECTURES = {"llama4"}


@dataclass(frozen=True)
class ModelKind:
    """What the KV cache can do for a model."""

    #: Whether layers keep a state of all tokens, from which none can be removed, instead of cells for each token.
    is_recurrent: bool
    #: How many tokens the layers with a sliding window attend to, the token itself included; None: there are no such
    #: layers.
    window_tokens: int | None
    #: Whether the windows do not slide, but begin at multiples of their length.
    is_chunked: bool

    def can_continue(self, first: int, length: int) -> bool:
        """Return whether a sequence of `length` tokens can be continued that has cells from the position `first` on."""
        if self.window_tokens is None:
            return True
        window = self.window_tokens
        return first <= max(0, length // window * window if self.is_chunked else length - window + 1)


def kind_of(model: Any) -> ModelKind:
    """Return the kind of a loaded model."""
    return ModelKind(
        is_recurrent=bool(llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model)),
        window_tokens=int(llama.llama_model_n_swa(model)) or None,
        is_chunked=metadata(model, "general.architecture") in CHUNKED_ARCHITECTURES,
    )


def check_kind(model: Any, path: Path) -> None:
    """Check that a loaded model writes text token by token.

    Raises:
        ConfigurationError: it does not; the message says what it is and what to use instead.
    """
    architecture = metadata(model, "general.architecture")
    if llama.llama_model_is_diffusion(model):
        raise _refusal(path, architecture, "a diffusion model, which writes all tokens of an answer at once")
    if llama.llama_model_has_encoder(model):
        raise _refusal(path, architecture, "an encoder-decoder model, whose encoder the engine does not run")
    if metadata(model, f"{architecture}.attention.causal") == "false":
        raise _encoder(path, architecture)


def memory_of(context: Any, path: Path) -> Any:
    """Return the KV cache of a context.

    Raises:
        ConfigurationError: the model has none, as it does not write.
    """
    memory = llama.llama_get_memory(context)
    if not memory:
        model = llama.llama_get_model(context)
        raise _encoder(path, metadata(model, "general.architecture"))
    return memory


def metadata(model: Any, name: str) -> str:
    """Return an entry of the GGUF file's metadata, or "" if it has none."""
    buffer = ctypes.create_string_buffer(256)
    length = llama.llama_model_meta_val_str(model, name.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", errors="replace") if length >= 0 else ""


def _encoder(path: Path, architecture: str) -> ConfigurationError:
    return _refusal(
        path,
        architecture,
        "an encoder, which reads texts and writes none. For embeddings and reranking, set EMBEDDING_MODEL_NAME or "
        "RERANK_MODEL to the model's original (not GGUF) files",
    )


def _refusal(path: Path, architecture: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{path.name} cannot answer: {architecture} is {what}. Choose a model for chats.")
