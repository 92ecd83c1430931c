"""Synthetic chunks for stores of a size that nobody wants to embed: the same in every run, batch by batch.

Vectors are a mix. Documents lie around 200 topics and chunks around their document. The deviation falls along the axes
with the square root of their rank, as that of embedding models roughly does. 5 % of the chunks nearly repeat the one
before, and 5 % point anywhere. Words follow the law of Zipf and Mandelbrot, without the most frequent ones, which are
stop words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.messages import Filter
from ingest.vector_store import Point, point_id
from ingest.vector_store.base import Vector

DIMENSION = 384
BATCH_CHUNKS = 2000
CHUNKS_PER_DOCUMENT = 20
DOCUMENTS_PER_FOLDER = 50
TOPICS = 200
WORDS_PER_CHUNK = 120
VOCABULARY = 200_000
#: Words of a text that are more frequent than any that is indexed.
STOP_WORDS = 50
NEAR_DUPLICATES = SCATTERED = 0.05
#: Distances in lengths of a vector: a document from its topic, a chunk from its document, a question from its chunk.
DOCUMENT_SPREAD, CHUNK_SPREAD, QUESTION_SPREAD = 0.8, 0.7, 0.8

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scope:
    """A part of the chunks, as a search names it, and as a function of the numbers of chunks."""

    name: str
    collections: tuple[str, ...]
    filters: Filter | None
    holds: Callable[[Numbers], Mask]


def _document(numbers: Numbers) -> Numbers:
    return numbers // CHUNKS_PER_DOCUMENT


SCOPES = (
    Scope("all chunks", (), None, lambda numbers: numbers >= 0),
    Scope("a collection: 10 %", ("collection-3",), None, lambda numbers: _document(numbers) % 10 == 3),
    Scope("a document: 20 chunks", (), Filter("eq", "document_id", "doc-11"), lambda numbers: _document(numbers) == 11),
    Scope(
        "a folder: 1,000 chunks",
        (),
        Filter("eq", "folder", "folder-2"),
        lambda numbers: _document(numbers) // DOCUMENTS_PER_FOLDER == 2,
    ),
    Scope(
        "two attributes: 5 %",
        (),
        Filter("and", filters=[Filter("eq", "shelf", "shelf-3"), Filter("gte", "year", 2010)]),
        lambda numbers: _document(numbers) % 20 == 13,
    ),
    Scope("a range: 50 %", (), Filter("gte", "year", 2010), lambda numbers: _document(numbers) % 20 >= 10),
    Scope("all but a shelf: 90 %", (), Filter("ne", "shelf", "shelf-3"), lambda numbers: _document(numbers) % 10 != 3),
)


@dataclass(frozen=True)
class Question:
    """A vector near that of a chunk, with words of the chunk and others."""

    vector: Vector
    text: str


class SyntheticChunks:
    """The chunks of a store, by batches of `BATCH_CHUNKS`."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        axes, _ = np.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))
        deviations = np.arange(1, DIMENSION + 1) ** -0.5
        self._axes = (axes * deviations).astype(np.float32)
        self._topics = self._directions(random, TOPICS)
        frequencies = np.cumsum(1 / (np.arange(VOCABULARY) + STOP_WORDS))
        self._frequencies = frequencies / frequencies[-1]

    def batch(self, number: int) -> tuple[Vectors, Numbers]:
        """Return the vectors [BATCH_CHUNKS, DIMENSION] and the words [BATCH_CHUNKS, WORDS_PER_CHUNK] of a batch."""
        random = np.random.default_rng([7, number])
        documents = BATCH_CHUNKS // CHUNKS_PER_DOCUMENT
        centres = self._topics[random.integers(TOPICS, size=documents)]
        centres = _unit(centres + DOCUMENT_SPREAD * self._directions(random, documents))
        vectors = np.repeat(centres, CHUNKS_PER_DOCUMENT, axis=0)
        vectors = _unit(vectors + CHUNK_SPREAD * self._directions(random, BATCH_CHUNKS))
        kind = random.random(BATCH_CHUNKS)
        repeated = np.flatnonzero(kind[1:] < NEAR_DUPLICATES) + 1
        vectors[repeated] = vectors[repeated - 1] + 0.05 * self._directions(random, len(repeated))
        scattered = np.flatnonzero(kind > 1 - SCATTERED)
        vectors[scattered] = random.standard_normal((len(scattered), DIMENSION), dtype=np.float32)
        return _unit(vectors), self._words(random, (BATCH_CHUNKS, WORDS_PER_CHUNK))

    def points(self, number: int) -> Iterator[Point]:
        """Yield the points of a batch."""
        vectors, words = self.batch(number)
        for row, (vector, of_chunk) in enumerate(zip(vectors, words, strict=True)):
            document, index = divmod(number * BATCH_CHUNKS + row, CHUNKS_PER_DOCUMENT)
            yield Point(chunk_id(document, index), vector, _text(of_chunk), _payload(document, index))

    def questions(self, count: int, chunks: int) -> list[Question]:
        """Return questions about the first `chunks` chunks."""
        random = np.random.default_rng(5)
        questions: list[Question] = []
        while len(questions) < count:
            vectors, words = self.batch(int(random.integers(chunks // BATCH_CHUNKS)))
            for row in random.integers(BATCH_CHUNKS, size=10):
                vector = _unit(vectors[row] + QUESTION_SPREAD * self._directions(random, 1)[0])
                asked = np.concatenate([random.choice(words[row], 4), self._words(random, 2)])
                questions.append(Question(vector, _text(asked)))
        return questions[:count]

    def best_ids(self, questions: list[Question], chunks: int, scope: Scope, limit: int) -> list[set[str]]:
        """Return the ids of the chunks with the greatest cosines to each question, by comparing all of them."""
        asked = np.stack([question.vector for question in questions])
        scores = np.full((len(questions), limit), -2, np.float32)
        numbers = np.full((len(questions), limit), -1, np.int64)
        for at in range(chunks // BATCH_CHUNKS):
            of_batch = np.arange(at * BATCH_CHUNKS, (at + 1) * BATCH_CHUNKS)
            held = np.flatnonzero(scope.holds(of_batch))
            if len(held):
                cosines = np.concatenate([scores, asked @ self.batch(at)[0][held].T], axis=1)
                known = np.concatenate([numbers, np.tile(of_batch[held], (len(questions), 1))], axis=1)
                best = np.argsort(-cosines, axis=1)[:, :limit]
                scores, numbers = np.take_along_axis(cosines, best, 1), np.take_along_axis(known, best, 1)
        return [{chunk_id(*divmod(int(item), CHUNKS_PER_DOCUMENT)) for item in row if item >= 0} for row in numbers]

    def _directions(self, random: np.random.Generator, count: int) -> Vectors:
        return _unit(random.standard_normal((count, DIMENSION), dtype=np.float32) @ self._axes.T)

    def _words(self, random: np.random.Generator, shape: int | tuple[int, int]) -> Numbers:
        return np.searchsorted(self._frequencies, random.random(shape))


def chunk_id(document: int, index: int) -> str:
    """Return the id of the point of a chunk, given the number of its document and its own."""
    return point_id(f"doc-{document}", 1, index)


def _payload(document: int, index: int) -> dict[str, object]:
    folder = document // DOCUMENTS_PER_FOLDER
    return {
        "document_id": f"doc-{document}",
        "generation": 1,
        "chunk_index": index,
        "collection": f"collection-{document % 10}",
        "filename": f"{document}.txt",
        "path": f"/documents/folder-{folder}/{document}.txt",
        "type": ["text/plain", "txt"],
        "content_hash": f"hash-{document}-{index}",
        "page": index // 3 + 1,
        "start": index * 800,
        "end": index * 800 + 850,
        "attributes": {
            "shelf": f"shelf-{document % 10}",
            "year": 2000 + document % 20,
            "folder": f"folder-{folder}",
        },
    }


def _text(words: Numbers) -> str:
    return " ".join(f"w{word}" for word in words)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)
