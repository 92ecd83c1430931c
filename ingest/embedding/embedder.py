"""The embedding model, loaded once per process."""

from __future__ import annotations

import copy
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
from ingest.embedding.library import import_library
from ingest.embedding.model_code import check_model_code
from ingest.embedding.model_files import EmbeddingModel, find_embedding_model, hub_unreachable
from ingest.embedding.prompts import Prompt, Purpose, prompt_for
from ingest.embedding.tokenizer import TextTokenizer, tokenizer_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]
#: Characters of a text that are tokenized, for each token that the model reads: far more than a text needs, and few
#: enough that a long text does not keep others waiting.
READ_CHARACTERS_PER_TOKEN = 64
#: A text of more characters, for each token that the model reads, is cut before the thread that embeds tokenizes it.
SHORT_CHARACTERS_PER_TOKEN = 8
PURPOSES: tuple[Purpose, ...] = ("query", "document", "plain")
#: Environment variables that the libraries below torch read when they are loaded. oneDNN keeps about 0.5 MiB for each
#: shape of a matrix product in two caches of 1,024 entries, and nearly every batch of texts has a new shape: a worker
#: would grow by hundreds of MiB. Smaller caches make it 5 % slower.
LIBRARY_DEFAULTS = {
    "TOKENIZERS_PARALLELISM": "false",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
}


class Embedder:
    """Turns texts into unit vectors. Thread-safe: one call computes at a time.

    Attributes:
        model_name: as shown to users; it also names the collection in the vector store.
        dimension: length of a vector: the model's, or EMBEDDING_DIMENSION if it is set.
        max_tokens: tokens of a text that the model reads; it cuts off the rest.
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
        prompts = {purpose: prompt_for(purpose, model.prompts, source.name) for purpose in PURPOSES}
        self._options = {purpose: _encode_options(prompt) for purpose, prompt in prompts.items()}

    @classmethod
    def from_settings(cls, settings: Settings) -> Embedder:
        """Load the model that the settings name. The starter model needs no network.

        Raises:
            ConfigurationError: the model cannot be found or loaded, or its vectors cannot have EMBEDDING_DIMENSION
                numbers.
        """
        return run_on_temporary_thread(lambda: cls._loaded(find_embedding_model(settings), settings))

    @classmethod
    def _loaded(cls, source: EmbeddingModel, settings: Settings) -> Embedder:
        model = load_model(source, settings)
        dimensions = dimensions_of(source, int(model.get_embedding_dimension() or 0))
        wanted = settings.embedding_dimension or dimensions.full
        if not dimensions.allows(wanted):
            raise ConfigurationError(
                f"EMBEDDING_DIMENSION={wanted}: the vectors of {source.name} have {dimensions.description}. "
                "Set one of these numbers or leave EMBEDDING_DIMENSION unset. If this is a Matryoshka model "
                'whose files do not say so, add "is_matryoshka": true to its config.json'
            )
        embedder = cls(model, tokenizer_of(source), source, dimensions, wanted)
        embedder.encode(["The first call takes longer than those after it."])
        return embedder

    def twin(self) -> Embedder:
        """Return an embedder with the same weights, which may compute at the same time as this one.

        Its tokenizer is a copy: those of transformers hold options of the call that is running.
        """
        weights = {id(tensor): tensor for tensor in (*self._model.parameters(), *self._model.buffers())}
        twin = copy.copy(self)
        twin._model = copy.deepcopy(self._model, weights)
        twin._lock = threading.Lock()
        return twin

    def use_cores(self, count: int) -> None:
        """Let the calling thread compute on so many cores."""
        import torch

        # The first call on a thread takes over the number that some thread has set last, so it has to come before.
        torch.get_num_threads()
        torch.set_num_threads(count)

    def encode(self, texts: Sequence[str], purpose: Purpose = "plain") -> Vectors:
        """Return the vectors of texts, in the same order.

        Args:
            texts: the parts that the model reads (`part_read`): all of them is tokenized.
            purpose: chooses the model's prompt, if it has one.

        Returns:
            float32 of shape [len(texts), dimension]; each row has length 1.

        Raises:
            InternalError: the model computed numbers that are not finite.
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
        # The length of a vector normalised in bfloat16 is up to 0.4 % off, so it is normalised here, in float32.
        return _unit(tensor.float().cpu().numpy()[:, : self.dimension])

    def check_dimensions(self, length: int) -> None:
        """Check that vectors can be cut to this length.

        Raises:
            InvalidRequest: they cannot.
        """
        if length != self.dimension and not (length < self.dimension and self._dimensions.allows(length)):
            here = Dimensions(self.dimension, self._dimensions.is_matryoshka, self._dimensions.listed)
            raise InvalidRequest(
                f"dimensions is {length}, but this model's embeddings have {here.description}.", param="dimensions"
            )

    def shorten(self, vectors: Vectors, length: int) -> Vectors:
        """Cut each vector to its first `length` numbers, and scale it to length 1 again."""
        return vectors if length == self.dimension else _unit(vectors[:, :length])

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text without special tokens, including those that the model cuts off."""
        return self._tokenizer.count(text)

    def part_read(self, text: str) -> tuple[str, int]:
        """Return the beginning of a text that the model reads, and how many tokens that is, with special tokens.

        The thread that embeds works for all others: it gets no more to tokenize than it needs.
        """
        part = text[: self.max_tokens * READ_CHARACTERS_PER_TOKEN]
        if len(part) > self.max_tokens * SHORT_CHARACTERS_PER_TOKEN:
            part, read = self._tokenizer.beginning(part, self.max_tokens)
        else:
            read = self.count_tokens(part)
        return part, min(read, self.max_tokens) + self._tokenizer.special_tokens

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids of this model.

        Raises:
            InvalidRequest: an id is not in the vocabulary, or the ids have no text.
        """
        vocabulary = self._tokenizer.vocabulary_size
        if unknown := next((token for token in ids if token >= vocabulary), None):
            raise InvalidRequest(
                f"Token id {unknown} is not in the vocabulary of {self.model_name}, whose ids are below {vocabulary}. "
                "If the ids come from another model's tokenizer, send the text itself.",
                param="input",
            )
        text = self._tokenizer.decode(ids)
        if not text:
            raise InvalidRequest("The token ids contain no text.", param="input")
        return text


def _unit(vectors: npt.NDArray[Any]) -> Vectors:
    if not np.isfinite(vectors).all():
        raise InternalError("the embedding model computed a vector that is not finite")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)


def _encode_options(prompt: Prompt) -> dict[str, Any]:
    """Return the options of `encode`. An empty prompt keeps it from using the model's default prompt."""
    return {"prompt": prompt.text} | ({"task": prompt.task} if prompt.task else {})


def load_model(source: EmbeddingModel, settings: Settings) -> SentenceTransformer:
    """Load a model with sentence-transformers. This imports torch, so only the process that embeds calls it."""
    for name, value in LIBRARY_DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Code that comes with a model may use all of torch.
    library = import_library(with_compiler=settings.trust_remote_code)
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # only of reading the weights, not of a download
    dtype = _dtype(settings.embedding_dtype)
    try:
        if settings.trust_remote_code:
            check_model_code(source, f"EMBEDDING_MODEL_NAME={source.source}")
        model: SentenceTransformer = library.SentenceTransformer(
            source.source,
            trust_remote_code=settings.trust_remote_code,
            # A folder is complete, except that its code may be in another repository.
            local_files_only=source.folder is not None and not settings.trust_remote_code,
            model_kwargs={"dtype": dtype},
        )
    except ConfigurationError:
        raise
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
    """Return whether this machine computes in bfloat16. Where bfloat16 is emulated, it is slower than float32."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "avx512_bf16" in cpu.read_text("utf-8", errors="replace")
