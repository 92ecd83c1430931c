"""Questions over documents that differ only in their headings: what titles, headings and file names add to search.

    python -m benchmarks.headings

The sections of all manuals have the same text but for one number, and name neither the device nor the part that they
are about. The rows of all tables have the same names. It uses the real chunker, embedding model and embedded store. A
hit is right if it is the chunk with the number that was asked for.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.quality import scores
from benchmarks.report import print_table
from core.settings import load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import index_document
from ingest.parsed_document import Chunk, content_hash_of
from ingest.pipeline import parse_to_chunks
from ingest.vector_store import ScoredPoint
from ingest.vector_store.base import DocumentMeta
from ingest.vector_store.edge import EdgeVectorStore

MODELS = [f"{letter}X-{number}" for letter in "ABCD" for number in (200, 210, 300, 450, 900)]
PARTS = ("Main fuse", "Drive belt", "Water filter", "Battery", "Door seal")
CITIES = ("Bergen", "Oslo", "Turku", "Riga", "Malmo", "Kiel", "Gdansk", "Tartu")
ITEMS = 60
SENTENCES = [
    "Check that the mains switch is off before any screw is turned.",
    "Lift the cover with both hands and lay it aside on a soft cloth.",
    "Wipe the contacts with a dry brush and inspect them for corrosion.",
    "Wait until the green lamp burns steadily before loading paper.",
    "Route the cable through the grommet at the rear and leave ten centimetres of slack.",
    "The ventilation slots must stay free on all sides by a hand's width.",
    "Level the feet until the bubble rests in the middle of the gauge.",
    "Keep the packing for a later transport of the unit.",
    "Press the reset key for three seconds to return to the factory state.",
    "Do not place the unit near heaters or in direct sunlight.",
]
SENTENCES_OF_A_SECTION = 22
#: What a chunk knows besides its text: whether it keeps its header, and whether the file has its name.
SWITCHES = {
    "text alone": (False, False),
    "and titles, headings, columns": (True, False),
    "and file names": (False, True),
    "and both": (True, True),
}
FETCHED = 20


@dataclass(frozen=True)
class Question:
    """A question, the document with the answer, and the words of the chunk that has it."""

    text: str
    document: str
    words: str
    kind: str


def build() -> tuple[dict[str, str], list[Question]]:
    """Return the documents by name, as Markdown, and the questions. They are the same in every run."""
    choose = random.Random(7)  # noqa: S311 - a corpus, not a secret
    documents: dict[str, str] = {}
    questions: list[Question] = []
    for model in MODELS:
        name, sections = f"manual_{model}.md", []
        for part in PARTS:
            hours = choose.randint(100, 9999)
            fact = f"Replace it after {hours} hours of work."
            # The same sentences in each manual.
            order = random.Random(part)  # noqa: S311
            filler = " ".join(order.choices(SENTENCES, k=SENTENCES_OF_A_SECTION))
            sections.append(f"## {part}\n\n{filler} {fact}\n")
            asked = f"After how many hours is the {part.lower()} of the {model} replaced?"
            questions.append(Question(asked, name, fact, "section"))
        documents[name] = f"# Model {model}\n\n" + "\n".join(sections)
    for city in CITIES:
        name, rows = f"stock_{city}.md", []
        for item in range(ITEMS):
            rows.append(f"| Article {item:02} | {choose.randint(10, 99)} | {choose.randint(100, 999)} |")
            if item % 6 == 5:  # noqa: PLR2004 - a sample of the rows
                asked = f"How many pieces of article {item:02} are in stock in {city}?"
                questions.append(Question(asked, name, rows[-1], "table"))
        head = "| name | price | pieces in stock |\n| --- | --- | --- |\n"
        documents[name] = f"# Branch {city}\n\n{head}" + "\n".join(rows) + "\n"
    return documents, questions


def chunked(folder: Path, documents: dict[str, str]) -> Iterator[tuple[str, list[Chunk]]]:
    """Yield the name and the chunks of each document."""
    settings = load_settings(_env_file=None, data_dir=folder)
    for name, text in documents.items():
        (folder / "file").write_text(text, "utf-8")
        parse_to_chunks(folder / "file", name, folder / "chunks", settings)
        yield name, read_chunks(folder / "chunks")


def without_header(chunk: Chunk) -> Chunk:
    """Return the chunk as if nothing stood above it."""
    return msgspec.structs.replace(chunk, header="", content_hash=content_hash_of(chunk.text))


def rank_of(question: Question, points: Sequence[ScoredPoint]) -> int | None:
    """Return the rank of the chunk with the answer, counted from 1, or None."""
    for rank, point in enumerate(points, 1):
        if point.payload["document_id"] == question.document and question.words in point.payload["text"]:
            return rank
    return None


def main() -> None:
    """Print, for each switch and kind of question, the first hits that are right and nDCG@10 of each way to search."""
    documents, questions = build()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = EmbeddingService(Embedder.from_settings(load_settings(_env_file=None, data_dir=folder)))
        chunks = dict(chunked(folder, documents))
        vectors = service.embed([question.text for question in questions], purpose="query")
        for number, (switch, (headers, names)) in enumerate(SWITCHES.items()):
            embedder = service.embedder
            store = EdgeVectorStore(folder / str(number), embedder.model_name, embedder.dimension)
            for at, (document, all_chunks) in enumerate(chunks.items()):
                kept = all_chunks if headers else list(map(without_header, all_chunks))
                meta = DocumentMeta(document, 1, "default", document if names else f"{at}.md")
                index_document(kept, document=meta, embedder=service, store=store)
            for kind in dict.fromkeys(question.kind for question in questions):
                cells = []
                for by_vector, by_terms in ((True, False), (False, True), (True, True)):
                    ranks = [
                        rank_of(one, store.search(vector if by_vector else None, one.text if by_terms else "", FETCHED))
                        for one, vector in zip(questions, vectors, strict=True)
                        if one.kind == kind
                    ]
                    cells.append(f"{ranks.count(1) / len(ranks):.3f} / {scores(ranks)[0]:.3f}")
                rows.append((kind, switch, *cells))
            store.close()
        service.close()
    title = f"{len(questions)} questions over {sum(map(len, chunks.values()))} chunks: first hit right / nDCG@10"
    print_table(title, ("questions", "a chunk knows", "dense", "BM25", "hybrid"), rows)


if __name__ == "__main__":
    main()
