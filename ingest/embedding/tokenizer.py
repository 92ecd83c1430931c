"""The embedding model's tokenizer alone, for counting and cutting text. Imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from core.errors import ConfigurationError
from core.settings import Settings
from ingest.embedding.model_files import EmbeddingModel, find_embedding_model
from ingest.embedding.prompts import prompt_for

#: For a model whose files do not name the size of its window.
FALLBACK_WINDOW_TOKENS = 512
#: transformers writes about 1e30 for "no limit".
UNLIMITED = 10_000_000


class TextTokenizer:
    """Counts and locates the tokens of a text. Thread-safe.

    Attributes:
        max_tokens: tokens of a text that the model reads, besides its special tokens and the prompt of documents; the
            model cuts off the rest.
    """

    def __init__(self, tokenizer: Tokenizer, window_tokens: int, document_prompt: str = "") -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.special_tokens: int = tokenizer.num_special_tokens_to_add(False)
        self.max_tokens = window_tokens - self.special_tokens - self.count(document_prompt)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text, without special tokens and without any limit."""
        # As a batch: that is computed without the interpreter's lock, which `encode` holds for seconds of a long text.
        return len(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0])

    def beginning(self, text: str, tokens: int) -> tuple[str, int]:
        """Return a beginning of a text with at least so many of its tokens, and the number of tokens of the whole text.

        A cut in a word may change its tokens, so the beginning has twice as many.
        """
        encoding = self._tokenizer.encode_batch([text], add_special_tokens=False)[0]
        span = encoding.token_to_chars(2 * tokens)  # None if there are not so many
        return text if span is None else text[: span[1]], len(encoding)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the span (start, end) of each token of a text, in characters."""
        return list(self._tokenizer.encode_batch([text], add_special_tokens=False)[0].offsets)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""
        return str(self._tokenizer.decode(list(ids)))

    @property
    def vocabulary_size(self) -> int:
        """The number of token ids; all ids are below it."""
        return int(self._tokenizer.get_vocab_size())


def load_tokenizer(settings: Settings) -> TextTokenizer:
    """Return the tokenizer of the embedding model that the settings name.

    Raises:
        ConfigurationError: there is no such model, or it has no `tokenizer.json`.
    """
    return tokenizer_of(find_embedding_model(settings))


def tokenizer_of(model: EmbeddingModel) -> TextTokenizer:
    """Return the tokenizer of a model.

    Raises:
        ConfigurationError: the model has no `tokenizer.json`, or the file cannot be read.
    """
    path = model.find_file("tokenizer.json")
    if path is None:
        raise ConfigurationError(f"EMBEDDING_MODEL_NAME={model.source}: the model has no tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises Exception itself
        raise ConfigurationError(f"EMBEDDING_MODEL_NAME={model.source}: bad tokenizer.json: {error}") from error
    prompts = model.read_json("config_sentence_transformers.json").get("prompts") or {}
    return TextTokenizer(tokenizer, _window_tokens(model), prompt_for("document", prompts, model.name).text)


def _window_tokens(model: EmbeddingModel) -> int:
    """Return the size of the model's window, special tokens included, as sentence-transformers determines it."""
    window = model.read_json("sentence_bert_config.json").get("max_seq_length")
    if window:
        return int(window)
    limits = [
        model.read_json("tokenizer_config.json").get("model_max_length"),
        model.read_json("config.json").get("max_position_embeddings"),
    ]
    known = [int(limit) for limit in limits if limit and limit < UNLIMITED]
    return min(known, default=FALLBACK_WINDOW_TOKENS)
