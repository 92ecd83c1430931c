"""A fake embedding model: texts that share words have similar vectors."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence

import numpy as np

from ingest.embedding.embedder import Purpose, Vectors


class FakeEmbedder:
    """Each word is a dimension. Records its batches, and refuses "poison".

    Waits while `proceed` is cleared, and `held` is a word of the first text or empty.
    """

    model_name = "fake"
    dimension = 1024
    max_tokens = 254

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.purposes: list[Purpose] = []
        self.cores: list[int] = []
        self.entered = threading.Event()
        self.proceed = threading.Event()
        self.proceed.set()
        self.held = ""

    def encode(self, texts: Sequence[str], purpose: Purpose = "plain") -> Vectors:
        self.batches.append(list(texts))
        self.purposes.append(purpose)
        self.entered.set()
        assert self.held not in texts[0] or self.proceed.wait(20)
        if "poison" in texts:
            raise ValueError("poisoned")
        return np.stack([self.vector(text) for text in texts])

    def use_cores(self, count: int) -> None:
        """Record the number with the next batch."""
        self.cores.append(count)

    def twin(self) -> FakeEmbedder:
        """Return the same object: it may be used by several threads."""
        return self

    def vector(self, text: str) -> Vectors:
        """Return the vector of a text, of length 1."""
        vector = np.full(self.dimension, 1e-3, dtype=np.float32)
        for word in text.lower().replace(".", "").split():
            vector[zlib.crc32(word.encode()) % self.dimension] += 1
        return vector / np.linalg.norm(vector)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def part_read(self, text: str) -> tuple[str, int]:
        words = text.split()
        part = text if len(words) <= 2 * self.max_tokens else " ".join(words[: 2 * self.max_tokens])
        return part, min(len(words), self.max_tokens) + 2
