"""The port to the model: what the engine needs from a runtime. `llama_backend` implements it; tests use a fake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigurationError
from core.messages import SamplingParams
from inference.engine.model_files import ModelInfo


class DecodeStatus(Enum):
    """How a step ended."""

    DONE = "done"
    #: The KV cache has no room; nothing was changed.
    FULL = "full"
    #: `interrupt()` was called; part of the batch may be in the cache.
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """Tokens of one sequence in a step, at positions `start`, `start + 1`, …; the last `rows` of them yield logits."""

    seq_id: int
    tokens: Sequence[int]
    start: int
    rows: int


@dataclass(frozen=True, slots=True)
class FillInMiddle:
    """The tokens before the text, before what follows it, and before the middle, which the model then writes."""

    prefix: int
    suffix: int
    middle: int


class TokenSampler(Protocol):
    """Chooses the tokens of one sequence and remembers them (penalties, random state)."""

    def expect(self, rows: range, mask: bytes | None = None) -> None:
        """Announce the rows of the last batch (indices of its tokens) that this sampler may be asked for.

        What is announced by all sequences before the first `sample` is computed at once. `mask` is for the first row:
        one bit per token of the vocabulary, least significant bit first; tokens with 0 are not chosen.
        """

    def sample(self, row: int) -> int:
        """Choose a token from the logits at `row`, remember it and return it."""

    def remember(self, token: int) -> None:
        """Remember a token that comes instead of the last one that was chosen."""

    def close(self) -> None:
        """Free the sampler's memory."""


class Tokenizer(Protocol):
    """The model's vocabulary. Callable from any thread."""

    @property
    def bos(self) -> int | None:
        """The token that begins a text, if the model has one."""

    @property
    def eos(self) -> int | None:
        """The token that ends a turn, if the model has one."""

    @property
    def fill_in_middle(self) -> FillInMiddle | None:
        """The tokens around the two texts between which the model writes, if the vocabulary has them."""

    def tokenize(self, text: str, *, special: bool, add_bos: bool = False) -> list[int]:
        """Return the token ids of a text; with `special`, control tokens are recognised.

        With `add_bos`, the token that begins a text comes first, if the vocabulary says that texts begin with it.
        """

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, that of control tokens included; what is no UTF-8 becomes U+FFFD."""

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token stands for in text: none for control tokens."""

    def token_text(self, token: int) -> str:
        """Return a token's text, control tokens included."""


class Backend(Tokenizer, Protocol):
    """A loaded model with a KV cache. Only the engine's thread calls it, except where a method says otherwise."""

    @property
    def model(self) -> ModelInfo: ...

    @property
    def sequences(self) -> int:
        """The number of sequence ids: 0 … sequences - 1."""

    @property
    def cells(self) -> int:
        """Tokens that the KV cache holds over all sequences; in a unified cache, a shared prefix counts once."""

    @property
    def parked_tokens(self) -> int:
        """Tokens that `park` may keep in main memory, over all keys."""

    @property
    def batch_tokens(self) -> int:
        """The most tokens of one step."""

    @property
    def chat_template(self) -> str:
        """The Jinja template of conversations."""

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """The texts that `tokenize(special=True)` reads as control tokens, each with its token."""

    @property
    def can_trim(self) -> bool:
        """Whether a part of a sequence can be removed from the cache (recurrent models cannot do that)."""

    @property
    def window_tokens(self) -> int | None:
        """How many of its last tokens a copy of a sequence holds in all layers, or None if it holds all tokens.

        A copy is a parked sequence, or one in another stream. Layers with a sliding window lack older tokens in it.
        """

    def decode(self, batch: Sequence[BatchEntry]) -> DecodeStatus:
        """Run the model over a batch.

        Raises:
            InternalError: if the runtime fails; `reset` is needed then.
        """

    def logits(self, row: int) -> NDArray[np.float32]:
        """Return the logits at `row` of the last batch, shape [vocab_size]; valid until the next `decode`."""

    @property
    def has_streams(self) -> bool:
        """Whether each sequence id has a stream of cells of its own, instead of one cache for all."""

    @property
    def attention_tile(self) -> int:
        """The query rows that attention computes at once; 1 if a row costs the same beside any number of others.

        A pass with fewer rows of a sequence takes longer for each of them.
        """

    def copy_prefix(self, source: int, target: int, length: int) -> bool:
        """Give the empty sequence `target` the first `length` tokens of `source`: shared if the cache is unified.

        Return False, and leave `target` empty, if they could not be copied.
        """

    def trim(self, seq_id: int, length: int) -> bool:
        """Remove all but the first `length` tokens of a sequence from the cache.

        Return False, and empty the sequence, if the rest cannot be continued: layers with a sliding window have lost
        some of its tokens.
        """

    def park(self, seq_id: int, key: int) -> None:
        """Copy the cache of a sequence to main memory, under `key`."""

    def unpark(self, key: int, target: int, length: int) -> bool:
        """Copy the first `length` tokens parked under `key` to the empty sequence `target`; they stay parked.

        Return False, and leave `target` empty, if the cache has no room for all that is parked there or parking failed.
        """

    def forget(self, key: int) -> None:
        """Drop what is parked under `key`."""

    def create_sampler(
        self, sampling: SamplingParams, seed: int, prompt: Sequence[int], generated: Sequence[int]
    ) -> TokenSampler:
        """Return a sampler in the state that it has after the `generated` tokens."""

    def interrupt(self) -> None:
        """Stop a running `decode` soon. Callable from any thread."""

    def clear_interrupt(self) -> None:
        """Make `decode` work again after `interrupt`."""

    def is_end(self, token: int) -> bool:
        """Return whether the token ends an answer. Callable from any thread."""

    def grammar_tokenizer(self) -> Any:
        """Return the vocabulary as llguidance's `LLTokenizer`; takes about a second. Callable from any thread."""

    def reset(self) -> None:
        """Empty the KV cache and drop everything that is parked."""

    def close(self) -> None:
        """Free the model."""


def token_of(tokenizer: Tokenizer, text: str) -> int | None:
    """Return the token whose whole text this is, or None if there is none."""
    tokens = tokenizer.tokenize(text, special=True)
    return tokens[0] if len(tokens) == 1 and tokenizer.token_text(tokens[0]) == text else None


def warm_up(backend: Backend) -> None:
    """Run one step with a prompt and one without, so that the first request does not pay for lazy allocations.

    Raises:
        ConfigurationError: if the model cannot compute anything.
    """
    tokens = [backend.bos or 0] * min(32, backend.batch_tokens)
    for batch in ([BatchEntry(0, tokens, 0, 1)], [BatchEntry(0, tokens[:1], len(tokens), 1)]):
        if backend.decode(batch) is not DecodeStatus.DONE:
            raise ConfigurationError(f"The model {backend.model.name} failed its first step.")
    backend.reset()
