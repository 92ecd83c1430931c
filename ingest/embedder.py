"""The embedding model, loaded once per process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from core.errors import ConfigurationError, InternalError
from core.settings import Settings
from core.threads import on_passing_thread
from ingest.embedding_service import EmbeddingService
from ingest.models import EmbeddingModel, find_embedding_model, hub_unreachable
from ingest.tokenizer import TextTokenizer, tokenizer_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Embedder", "EmbeddingService", "Purpose"]

log = logging.getLogger(__name__)

Purpose = Literal["query", "document", "plain"]
Vectors = npt.NDArray[np.float32]

#: Names under which models file their prompts; the first that is not empty is used.
PROMPT_NAMES: dict[str, tuple[str, ...]] = {
    "query": ("query", "retrieval.query", "search_query"),
    "document": ("document", "passage", "retrieval.passage", "search_document"),
}


class Embedder:
    """Turns texts into unit vectors. Thread-safe: one call computes at a time.

    Attributes:
        model_name: as shown to users, and the name of the collection in the vector store.
        dimension: length of a vector.
        max_tokens: tokens of a text that are read; the model cuts off the rest.
        default_score_threshold: least cosine of a right answer.
    """

    def __init__(self, model: SentenceTransformer, tokenizer: TextTokenizer, source: EmbeddingModel) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self.model_name = source.name
        self.dimension = int(model.get_embedding_dimension() or 0)
        self.max_tokens = tokenizer.max_tokens
        self.default_score_threshold = source.default_score_threshold
        self._options = {purpose: _prompt_options(model, purpose) for purpose in ("query", "document", "plain")}

    @classmethod
    def from_settings(cls, settings: Settings) -> Embedder:
        """Loads the model that the settings name; the starter needs no network.

        Raises:
            ConfigurationError: it cannot be had or loaded, or has another dimension than EMBEDDING_DIMENSION.
        """
        embedder = on_passing_thread(lambda: cls._loaded(find_embedding_model(settings), settings))
        expected = settings.embedding_dimension
        if expected is not None and expected != embedder.dimension:
            raise ConfigurationError(
                f"EMBEDDING_DIMENSION={expected}: the vectors of {embedder.model_name} have "
                f"{embedder.dimension} dimensions; set that number or leave EMBEDDING_DIMENSION unset"
            )
        return embedder

    @classmethod
    def _loaded(cls, source: EmbeddingModel, settings: Settings) -> Embedder:
        embedder = cls(_load(source, settings), tokenizer_of(source), source)
        embedder.encode(["The first call takes longer than those after it."])
        return embedder

    def encode(self, texts: Sequence[str], purpose: Purpose = "plain") -> Vectors:
        """Embeds texts, in the order given.

        Returns:
            float32 of shape [len(texts), dimension]; each row has length 1.

        Raises:
            InternalError: the model gave numbers that are not finite.
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        with self._lock:
            tensor = self._model.encode(
                list(texts),
                batch_size=len(texts),
                show_progress_bar=False,
                convert_to_tensor=True,
                **self._options[purpose],
            )
        # In bfloat16 a normalised vector is up to 0.4 % off length 1, so its length is set here, in float32.
        return _unit(tensor.float().cpu().numpy())

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without special tokens, also those that the model cuts off."""
        return self._tokenizer.count(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids of this model."""
        return self._tokenizer.decode(ids)


def _unit(vectors: npt.NDArray[Any]) -> Vectors:
    if not np.isfinite(vectors).all():
        raise InternalError("the embedding model gave a vector that is not finite")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


def _prompt_options(model: SentenceTransformer, purpose: str) -> dict[str, Any]:
    """What `encode` is told for a purpose: the model's own prompt, and the task that some models route by."""
    names = PROMPT_NAMES.get(purpose)
    if names is None:
        return {"prompt": ""}  # an empty one keeps the model's default prompt away
    name = next((name for name in names if model.prompts.get(name)), None)
    # A dotted name (jina-embeddings-v3) is also the name of the model's adapter.
    task = name if name and "." in name else purpose
    return {"prompt_name": name, "task": task} if name else {"prompt": "", "task": task}


def _load(source: EmbeddingModel, settings: Settings) -> SentenceTransformer:
    """Loads with sentence-transformers. Imports torch, so only the process that embeds calls it."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # of reading the weights; a download still shows its own
    torch.set_num_threads(settings.embedding_threads or settings.cores)
    dtype = _dtype(settings.embedding_dtype)
    try:
        model = SentenceTransformer(
            source.source,
            trust_remote_code=settings.trust_remote_code,
            # A folder is complete, except that code it refers to may lie in another repository.
            local_files_only=source.folder is not None and not settings.trust_remote_code,
            model_kwargs={"dtype": dtype},
        )
    except Exception as error:  # transformers and torch raise many kinds; each means that this model cannot be used
        raise _load_error(source, error) from error
    log.info("embedding model %s: %s on %s", source.name, str(dtype).removeprefix("torch."), model.device)
    return model.eval()


def _load_error(source: EmbeddingModel, error: Exception) -> ConfigurationError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "trust_remote_code" in str(error):
        return ConfigurationError(
            f"EMBEDDING_MODEL_NAME={source.source}: the model comes with Python code of its own. "
            "If you trust its authors, let it run with TRUST_REMOTE_CODE=true"
        )
    if source.folder is None and isinstance(error, OSError):
        return hub_unreachable(source.name, reason)
    return ConfigurationError(f"EMBEDDING_MODEL_NAME={source.source}: the model cannot be loaded: {reason}")


def _dtype(wanted: str) -> Any:
    import torch

    if wanted == "auto":
        wanted = "bfloat16" if _computes_bfloat16() else "float32"
    return getattr(torch, wanted)


def _computes_bfloat16() -> bool:
    """Whether this machine computes in bfloat16; where it is emulated it is slower than float32."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "avx512_bf16" in cpu.read_text("utf-8", errors="replace")
