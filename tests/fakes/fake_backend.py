"""A fake model whose next token depends on all tokens before it, so that a wrong KV cache shows in the text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from core.messages import SamplingParams
from inference.engine.backend import BatchEntry, DecodeStatus, FillInMiddle
from inference.engine.model_files import ModelInfo
from inference.engine.stream_cache import SPARE_WINDOW_TOKENS

#: Tokens are bytes, followed by the end, the beginning and a control token that chat templates use.
END, BOS, TURN = 256, 257, 258
VOCAB_SIZE = 259
_NAMES = {END: "<|end|>", BOS: "<|bos|>", TURN: "<|turn|>"}
ALPHABET = b"abcdefghijklmnopqrstuvwxyz "


def next_token(prefix: Sequence[int]) -> int:
    """Return the model's token after a prefix: a letter, or the end for about one of 64 prefixes."""
    digest = crc32(np.asarray(prefix, np.int32).tobytes())
    return END if digest % 64 == 0 else ALPHABET[digest % len(ALPHABET)]


def answer(prompt: Sequence[int], max_tokens: int) -> list[int]:
    """Return the tokens that the model generates for a prompt if nothing interferes."""
    tokens = list(prompt)
    while len(tokens) - len(prompt) < max_tokens:
        token = next_token(tokens)
        if token == END:
            break
        tokens.append(token)
    return tokens[len(prompt) :]


class FakeSampler:
    def __init__(self, backend: FakeBackend, sampling: SamplingParams) -> None:
        self._backend = backend
        self._sampling = sampling
        self.closed = False
        self._rows = range(0)
        self._mask: bytes | None = None

    def expect(self, rows: range, mask: bytes | None = None) -> None:
        self._rows, self._mask = rows, mask
        self._backend.sampler_calls.append("expect")

    def sample(self, row: int) -> int:
        assert row in self._rows, "a row is announced before it is sampled"
        self._backend.sampler_calls.append("sample")
        logits = self._backend.logits(row).copy()
        for token, bias in self._sampling.logit_bias.items():
            logits[token] += bias
        if self._sampling.ignore_eos:
            logits[END] = -np.inf
        if self._mask is not None and row == self._rows[0]:
            bits = np.unpackbits(np.frombuffer(self._mask, np.uint8), count=VOCAB_SIZE, bitorder="little")
            logits[bits == 0] = -np.inf
        return int(logits.argmax())

    def remember(self, token: int) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeBackend:
    """Keeps the tokens of each sequence as a KV cache does, and refuses what a real one refuses."""

    bos: int | None = BOS
    eos: int | None = END
    chat_template: str = (
        "{% for message in messages %}<|turn|>{{ message.role }}\n{{ message.content }}\n{% endfor %}"
        "{{ '<|turn|>assistant\n' }}"
    )
    control_tokens: Mapping[str, int] = {name: token for token, name in _NAMES.items()}
    can_trim = True
    attention_tile = 1
    fill_in_middle: FillInMiddle | None = None

    def __init__(
        self,
        *,
        sequences: int = 4,
        cells: int = 512,
        batch_tokens: int = 64,
        context_length: int = 128,
        has_streams: bool = False,
        window_tokens: int | None = None,
        spare_window_tokens: int = SPARE_WINDOW_TOKENS,
    ) -> None:
        self.spare_window_tokens = spare_window_tokens
        self.has_streams = has_streams
        self.window_tokens = window_tokens
        self.sequences, self.cells, self.batch_tokens = sequences, cells, batch_tokens
        self.model = ModelInfo("fake", "/fake.gguf", context_length, VOCAB_SIZE, 1, False, "gguf")
        self.content: dict[int, list[int]] = {at: [] for at in range(sequences)}
        self.parked: dict[int, list[int]] = {}
        #: The first position of each sequence that is there in the layers with a sliding window.
        self.first = dict.fromkeys(range(sequences), 0)
        self.parked_tokens = 4 * context_length
        #: Makes `unpark` and `copy_prefix` fail, as they do when the cache is too fragmented.
        self.copies_fail = False
        self.steps: list[list[BatchEntry]] = []
        self.samplers: list[FakeSampler] = []
        #: What was asked of samplers since the last step.
        self.sampler_calls: list[str] = []
        self.closed = False
        #: Called at the start of each decode: a test can make it wait, or raise.
        self.before_decode: Callable[[], None] = lambda: None
        self._rows: list[list[int]] = []
        self._interrupted = threading.Event()

    def decode(self, batch: Sequence[BatchEntry]) -> DecodeStatus:
        self.before_decode()
        self.sampler_calls.clear()
        if self._interrupted.is_set():
            return DecodeStatus.INTERRUPTED
        total = sum(len(entry.tokens) for entry in batch)
        assert 0 < total <= self.batch_tokens, f"a step of {total} tokens"
        ids = [entry.seq_id for entry in batch]
        assert len(set(ids)) == len(batch), "a sequence id twice in a step"
        assert ids == sorted(ids), "llama.cpp computes sequences apart that are not in the order of their ids"
        self.steps.append(list(batch))
        self._rows = []
        for entry in batch:
            content = self.content[entry.seq_id]
            assert entry.start == len(content), f"position {entry.start} after {len(content)} tokens"
            for token in entry.tokens:
                content.append(token)
                self._rows.append(list(content))
            self.slide(entry.seq_id)
        return DecodeStatus.DONE

    def logits(self, row: int) -> NDArray[np.float32]:
        logits = np.zeros(VOCAB_SIZE, np.float32)
        prefix = self._rows[row]
        logits[next_token(prefix)] = 10.0
        # A second best token, for when the end is not allowed.
        logits[ALPHABET[len(prefix) % len(ALPHABET)]] += 1.0
        return logits

    def slide(self, seq_id: int) -> None:
        """Drop what a sliding window leaves behind, but for a few tokens."""
        if self.window_tokens is not None:
            held = self.window_tokens + self.spare_window_tokens
            self.first[seq_id] = max(self.first[seq_id], len(self.content[seq_id]) - held)

    def copy_prefix(self, source: int, target: int, length: int) -> bool:
        assert not self.content[target], "the target of a copy must be empty"
        assert length <= len(self.content[source])
        if self.copies_fail:
            return False
        return self._put(target, self.content[source], length)

    def _put(self, target: int, tokens: Sequence[int], length: int) -> bool:
        self.content[target] = list(tokens)
        self.first[target] = 0 if self.window_tokens is None else max(0, len(tokens) - self.window_tokens)
        return self.trim(target, length)

    def trim(self, seq_id: int, length: int) -> bool:
        assert self.can_trim or length in (0, len(self.content[seq_id])), "a recurrent model's state cannot be cut"
        del self.content[seq_id][length:]
        if length and self.window_tokens is not None and self.first[seq_id] > max(0, length - self.window_tokens + 1):
            self.content[seq_id].clear()
            self.first[seq_id] = 0
            return False
        self.first[seq_id] = min(self.first[seq_id], length)
        return True

    def park(self, seq_id: int, key: int) -> None:
        assert key not in self.parked
        self.parked[key] = list(self.content[seq_id])

    def unpark(self, key: int, target: int, length: int) -> bool:
        assert not self.content[target], "the target of an unpark must be empty"
        assert length <= len(self.parked[key])
        if self.copies_fail:
            return False
        return self._put(target, self.parked[key], length)

    def forget(self, key: int) -> None:
        del self.parked[key]

    def create_sampler(
        self, sampling: SamplingParams, seed: int, prompt: Sequence[int], generated: Sequence[int]
    ) -> FakeSampler:
        self.samplers.append(FakeSampler(self, sampling))
        return self.samplers[-1]

    def interrupt(self) -> None:
        self._interrupted.set()

    def clear_interrupt(self) -> None:
        self._interrupted.clear()

    def tokenize(self, text: str, *, special: bool, add_bos: bool = False) -> list[int]:
        tokens = [BOS] if add_bos else []
        while text:
            token = next((one for one, name in _NAMES.items() if special and text.startswith(name)), None)
            if token is None:
                tokens += text[0].encode()
                text = text[1:]
            else:
                tokens.append(token)
                text = text[len(_NAMES[token]) :]
        return tokens

    def token_bytes(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def detokenize(self, tokens: Sequence[int]) -> str:
        parts = (_NAMES.get(token, "").encode() or bytes([token]) for token in tokens)
        return b"".join(parts).decode(errors="replace")

    def token_text(self, token: int) -> str:
        return _NAMES.get(token) or bytes([token]).decode("latin-1")

    def is_end(self, token: int) -> bool:
        return token == END

    def grammar_tokenizer(self) -> Any:
        raise NotImplementedError("the fake model has no grammars")

    def reset(self) -> None:
        self.content = {at: [] for at in range(self.sequences)}
        self.first = dict.fromkeys(range(self.sequences), 0)
        self.parked.clear()

    def close(self) -> None:
        self.closed = True
