"""Chunks cover the document, fit the token limit, and are exact slices of the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.chunker import MAX_CHARACTERS_PER_TOKEN, chunk_document
from ingest.parsed_document import Chunk, DocumentBuilder, ElementKind, ParsedDocument, SpanBuilder, content_hash_of


class WordTokenizer:
    """A stand-in for WordPiece: a token is up to four characters of a word, or a punctuation mark."""

    _token = re.compile(r"\w{1,4}|[^\w\s]")

    def count(self, text: str) -> int:
        return len(self.offsets(text))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in self._token.finditer(text)]


class WholeWordTokenizer(WordTokenizer):
    """Turns a word of any length into one token, as `[UNK]` does."""

    _token = re.compile(r"\S+")


TOKENIZER = WordTokenizer()

text_of_elements = st.text(
    st.sampled_from("ab cde.f!? \n\n,é中。\u200b\t|-") | st.characters(codec="utf-8"), min_size=1, max_size=300
)
elements = st.lists(
    st.tuples(st.sampled_from(ElementKind), text_of_elements, st.integers(0, 3), st.none() | st.integers(1, 2)),
    max_size=12,
)


def build(parts: list[tuple[ElementKind, str, int, int | None]]) -> ParsedDocument:
    builder = DocumentBuilder()
    for kind, text, level, page in parts:
        builder.add(kind, text, level=level, page=page)
    return builder.build("text/plain")


def document_of(*paragraphs: str) -> ParsedDocument:
    return build([(ElementKind.PARAGRAPH, text, 0, None) for text in paragraphs])


def assert_nothing_lost(document: ParsedDocument, chunks: list[Chunk]) -> None:
    covered = 0
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.content_hash == content_hash_of(chunk.text)
        assert not document.text[covered : chunk.start].strip()
        assert chunk.end > covered
        covered = chunk.end
    assert not document.text[covered:].strip()
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))


@given(elements, st.integers(1, 40), st.integers(0, 30))
def test_any_document_is_covered_by_chunks_that_fit(
    parts: list[tuple[ElementKind, str, int, int | None]], max_tokens: int, overlap_tokens: int
) -> None:
    document = build(parts)
    chunks = chunk_document(document, TOKENIZER, max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    assert_nothing_lost(document, chunks)
    assert all(TOKENIZER.count(chunk.text) <= max_tokens for chunk in chunks)
    assert all(len(chunk.text) <= max_tokens * MAX_CHARACTERS_PER_TOKEN for chunk in chunks)


@given(st.text(st.sampled_from("abc .\n"), max_size=600), st.integers(2, 30))
def test_without_overlap_no_character_is_in_two_chunks(text: str, max_tokens: int) -> None:
    document = document_of(text)
    chunks = chunk_document(document, TOKENIZER, max_tokens=max_tokens)
    assert all(left.end <= right.start for left, right in zip(chunks, chunks[1:], strict=False))


def test_small_neighbours_share_a_chunk() -> None:
    document = document_of("one two", "three", "four")
    assert [chunk.text for chunk in chunk_document(document, TOKENIZER, max_tokens=20)] == ["one two\n\nthree\n\nfour"]


def test_a_section_begins_a_chunk_and_names_its_headings() -> None:
    document = build(
        [
            (ElementKind.HEADING, "Handbook", 0, None),
            (ElementKind.HEADING, "Travel", 1, None),
            (ElementKind.PARAGRAPH, "By train.", 0, None),
            (ElementKind.HEADING, "Meals", 1, None),
            (ElementKind.PARAGRAPH, "At noon.", 0, None),
        ]
    )
    chunks = chunk_document(document, TOKENIZER, max_tokens=100, overlap_tokens=10)
    assert [(chunk.section, chunk.text) for chunk in chunks] == [
        ("Handbook > Travel", "Handbook\n\nTravel\n\nBy train."),
        ("Handbook > Meals", "Meals\n\nAt noon."),
    ]


def test_a_page_begins_a_chunk() -> None:
    document = build([(ElementKind.PARAGRAPH, "First.", 0, 1), (ElementKind.PARAGRAPH, "Second.", 0, 2)])
    chunks = chunk_document(document, TOKENIZER, max_tokens=100)
    assert [(chunk.page, chunk.text) for chunk in chunks] == [(1, "First."), (2, "Second.")]


def test_a_long_paragraph_is_cut_at_the_ends_of_sentences_and_overlaps_by_one() -> None:
    sentences = [f"Cats eat fish {number}." for number in range(9)]
    document = document_of(" ".join(sentences))
    chunks = chunk_document(document, TOKENIZER, max_tokens=16, overlap_tokens=6)
    texts = [chunk.text for chunk in chunks]
    assert texts[0] == " ".join(sentences[:3])
    assert texts[-1].endswith(sentences[-1])
    assert all(right.startswith(left[-len(sentences[0]) :]) for left, right in zip(texts, texts[1:], strict=False))


def test_a_table_is_cut_between_rows() -> None:
    rows = [f"| {name} | {name} |" for name in ("aa", "bb", "cc", "dd")]
    document = build([(ElementKind.TABLE, "\n".join(rows), 0, None)])
    chunks = chunk_document(document, TOKENIZER, max_tokens=11, overlap_tokens=2)
    assert [chunk.text for chunk in chunks] == ["\n".join(rows[:2]), "\n".join(rows[2:])]


def test_a_sentence_over_the_limit_is_cut_between_words() -> None:
    document = document_of("word " * 100)
    chunks = chunk_document(document, TOKENIZER, max_tokens=10, overlap_tokens=3)
    assert {word for chunk in chunks for word in chunk.text.split()} == {"word"}
    assert all(TOKENIZER.count(chunk.text) <= 10 for chunk in chunks)


def test_a_very_long_word_of_one_token_is_split() -> None:
    document = document_of("x" * 5000)
    chunks = chunk_document(document, WholeWordTokenizer(), max_tokens=10)
    assert_nothing_lost(document, chunks)
    assert max(len(chunk.text) for chunk in chunks) == 10 * MAX_CHARACTERS_PER_TOKEN


class GluingTokenizer(WordTokenizer):
    """Counts gaps between words too, so that a text has more tokens than its parts together."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return sorted([*super().offsets(text), *((match.start(), match.end()) for match in re.finditer(r"\s+", text))])


@given(elements, st.integers(4, 40), st.integers(0, 30))
def test_chunks_fit_where_a_whole_has_more_tokens_than_its_parts(
    parts: list[tuple[ElementKind, str, int, int | None]], max_tokens: int, overlap_tokens: int
) -> None:
    document, tokenizer = build(parts), GluingTokenizer()
    chunks = chunk_document(document, tokenizer, max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    assert_nothing_lost(document, chunks)
    assert all(tokenizer.count(chunk.text) <= max_tokens for chunk in chunks)


def test_long_gaps_do_not_join_chunks() -> None:
    builder = SpanBuilder("a" + "\n" * 5000 + "b")
    builder.add(ElementKind.PARAGRAPH, 0, 1)
    builder.add(ElementKind.PARAGRAPH, 5001, 5002)
    chunks = chunk_document(builder.build("text/plain"), TOKENIZER, max_tokens=20, overlap_tokens=5)
    assert [chunk.text for chunk in chunks] == ["a", "b"]


def test_changing_one_section_leaves_the_chunks_of_the_others() -> None:
    def hashes(second: str) -> list[str]:
        parts: list[tuple[ElementKind, str, int, int | None]] = []
        for title, body in (("A", "alpha " * 30), ("B", second), ("C", "gamma " * 30)):
            parts += [(ElementKind.HEADING, title, 0, None), (ElementKind.PARAGRAPH, body, 0, None)]
        return [chunk.content_hash for chunk in chunk_document(build(parts), TOKENIZER, max_tokens=20)]

    before, after = hashes("beta"), hashes("changed and longer")
    assert len(set(before) - set(after)) == 1


def test_a_chunk_size_below_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens=0"):
        chunk_document(document_of("text"), TOKENIZER, max_tokens=0)


def test_inserting_a_line_changes_only_the_chunks_around_it() -> None:
    lines = [f"value_{number * 7919 % 10007} = {number}" for number in range(2000)]

    def hashes(listing: list[str]) -> set[str]:
        document = build([(ElementKind.CODE, "\n".join(listing), 0, None)])
        chunks = chunk_document(document, TOKENIZER, max_tokens=100, overlap_tokens=10)
        assert_nothing_lost(document, chunks)
        return {chunk.content_hash for chunk in chunks}

    before = hashes(lines)
    for position in (1, 500, 1500):
        after = hashes([*lines[:position], "put_in = here", *lines[position:]])
        assert 1 <= len(after - before) <= 8


def test_a_heading_without_a_page_is_in_the_chunk_of_the_page_below_it() -> None:
    builder = DocumentBuilder()
    builder.add(ElementKind.HEADING, "Attachment: offer.pdf")
    builder.add(ElementKind.PARAGRAPH, "first words", page=1)
    builder.add(ElementKind.PARAGRAPH, "second words", page=2)
    chunks = chunk_document(builder.build("message/rfc822"), TOKENIZER, max_tokens=50)
    assert [(chunk.text, chunk.page) for chunk in chunks] == [
        ("Attachment: offer.pdf\n\nfirst words", 1), ("second words", 2),
    ]  # fmt: skip
