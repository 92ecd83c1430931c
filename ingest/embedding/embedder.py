"""The embedding model, loaded once per process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import ConfigurationError, InternalError, InvalidRequest
from core.settings import Settings
from core.threads import run_on_temporary_thread
from ingest.embedding.dimensions import Dimensions, dimensions_of
from ingest.embedding.model_files import EmbeddingModel, find_embedding_model, hub_unreachable
from ingest.embedding.prompts import Prompt, Purpose, prompt_for
from ingest.embedding.tokenizer import TextTokenizer, tokenizer_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]
PURPOSES: tuple[Purpose, ...] = ("query", "document", "plain")
#: What the libraries below torch read when they are loaded. Each product of matrices of another shape leaves some
#: 0.5 MiB in two caches of 1,024, and nearly every batch of texts has a new shape: without a bound a worker grows by
#: hundreds of MiB. Making what is not in them costs 5 %.
LIBRARY_DEFAULTS = {
    "TOKENIZERS_PARALLELISM": "false",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
}


class Embedder:
    """Turns texts into unit vectors. Thread-safe: one call computes at a time.

    Attributes:
        model_name: as shown to users, and the name of the collection in the vector store.
        dimension: length of a vector: the model's, or what EMBEDDING_DIMENSION cuts it to.
        max_tokens: tokens of a text that are read; the model cuts off the rest.
        default_score_threshold: least cosine of a right answer.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        tokenizer: TextTokenizer,
        source: EmbeddingModel,
        dimensions: Dimensions,
        dimension: int,
    ) -> None:
        self._model = model
        self._dimensions = dimensions
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self.model_name = source.name
        self.dimension = dimension
        self.max_tokens = tokenizer.max_tokens
        self.default_score_threshold = source.default_score_threshold
        prompts = {purpose: prompt_for(purpose, model.prompts, source.name) for purpose in PURPOSES}
        self._options = {purpose: _encode_options(prompt) for purpose, prompt in prompts.items()}

    @classmethod
    def from_settings(cls, settings: Settings) -> Embedder:
        """Loads the model that the settings name; the starter needs no network.

        Raises:
            ConfigurationError: it cannot be had or loaded, or its vectors cannot have EMBEDDING_DIMENSION numbers.
        """
        return run_on_temporary_thread(lambda: cls._loaded(find_embedding_model(settings), settings))

    @classmethod
    def _loaded(cls, source: EmbeddingModel, settings: Settings) -> Embedder:
        model = load_model(source, settings)
        dimensions = dimensions_of(source, int(model.get_embedding_dimension() or 0))
        wanted = settings.embedding_dimension or dimensions.full
        if not dimensions.allows(wanted):
            raise ConfigurationError(
                f"EMBEDDING_DIMENSION={wanted}: the vectors of {source.name} have {dimensions.described}. "
                "Set one of these numbers or leave EMBEDDING_DIMENSION unset; if this is a Matryoshka model "
                'and does not say so, add "is_matryoshka": true to its config.json'
            )
        embedder = cls(model, tokenizer_of(source), source, dimensions, wanted)
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
        return _unit(tensor.float().cpu().numpy()[:, : self.dimension])

    def check_dimensions(self, length: int) -> None:
        """Whether `shorten` can give vectors of this length.

        Raises:
            InvalidRequest: it cannot.
        """
        if length != self.dimension and not (length < self.dimension and self._dimensions.allows(length)):
            here = Dimensions(self.dimension, self._dimensions.is_matryoshka, self._dimensions.listed)
            raise InvalidRequest(
                f"dimensions is {length}, but this model's embeddings have {here.described}.", param="dimensions"
            )

    def shorten(self, vectors: Vectors, length: int) -> Vectors:
        """The first `length` numbers of each vector, of length 1 again."""
        return vectors if length == self.dimension else _unit(vectors[:, :length])

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without special tokens, also those that the model cuts off."""
        return self._tokenizer.count(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids of this model.

        Raises:
            InvalidRequest: an id is not in the vocabulary, or there is no text in them.
        """
        vocabulary = self._tokenizer.vocabulary_size
        if unknown := next((token for token in ids if token >= vocabulary), None):
            raise InvalidRequest(
                f"Token id {unknown} is not in the vocabulary of {self.model_name}, whose ids are below {vocabulary}. "
                "Send the text itself if the ids are those of another model's tokenizer.",
                param="input",
            )
        text = self._tokenizer.decode(ids)
        if not text:
            raise InvalidRequest("The token ids are no text.", param="input")
        return text


def _unit(vectors: npt.NDArray[Any]) -> Vectors:
    if not np.isfinite(vectors).all():
        raise InternalError("the embedding model gave a vector that is not finite")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


def _encode_options(prompt: Prompt) -> dict[str, Any]:
    """What `encode` is told. An empty prompt keeps the model's default one away."""
    return {"prompt": prompt.text} | ({"task": prompt.task} if prompt.task else {})


def load_model(source: EmbeddingModel, settings: Settings) -> SentenceTransformer:
    """Loads with sentence-transformers. Imports torch, so only the process that embeds calls it."""
    for name, value in LIBRARY_DEFAULTS.items():
        os.environ.setdefault(name, value)
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
