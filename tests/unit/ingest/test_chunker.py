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
        assert chunk.content_hash == content_hash_of(chunk.text, chunk.header)
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


HANDBOOK = (
    (ElementKind.HEADING, "Handbook", 0, None),
    (ElementKind.HEADING, "Travel", 1, None),
    (ElementKind.PARAGRAPH, "By train.", 0, None),
    (ElementKind.HEADING, "Meals", 1, None),
    (ElementKind.PARAGRAPH, "At noon.", 0, None),
)


def test_a_section_begins_a_chunk_and_names_its_headings() -> None:
    chunks = chunk_document(build([*HANDBOOK]), TOKENIZER, max_tokens=50, overlap_tokens=10)
    assert [(chunk.section, chunk.header, chunk.text) for chunk in chunks] == [
        ("Handbook > Travel", "", "Handbook\n\nTravel\n\nBy train."),
        ("Handbook > Meals", "Handbook", "Meals\n\nAt noon."),
    ]


def test_a_section_of_a_few_words_shares_the_chunk_of_its_neighbour() -> None:
    (chunk,) = chunk_document(build([*HANDBOOK]), TOKENIZER, max_tokens=400)
    assert chunk.section == "Handbook > Travel"
    assert chunk.text.endswith("By train.\n\nMeals\n\nAt noon.")
    before = (ElementKind.HEADING, "Scope", 0, None), (ElementKind.PARAGRAPH, "All.", 0, None)
    (chunk,) = chunk_document(build([*before, *HANDBOOK[:3]]), TOKENIZER, max_tokens=400)
    assert chunk.text == "Scope\n\nAll.\n\nHandbook\n\nTravel\n\nBy train."


def test_text_runs_over_pages_and_a_chunk_knows_its_first_and_last() -> None:
    sentences = [(ElementKind.PARAGRAPH, f"Cats eat fish {page}.", 0, page) for page in range(1, 7)]
    chunks = chunk_document(build(sentences), TOKENIZER, max_tokens=16, overlap_tokens=6)
    for chunk in chunks:
        pages = [int(number) for number in re.findall(r"\d", chunk.text)]
        assert len(pages) > 1 and (chunk.page, chunk.last_page) == (pages[0], pages[-1])
    assert chunks[1].text.startswith(sentences[chunks[1].page - 1][1]) and chunks[1].page == chunks[0].last_page, (
        "the overlap is from the page before"
    )


def test_a_chunk_does_not_end_in_a_sentence_that_goes_on_on_the_next_page() -> None:
    for words in ("aa", "bb", "cc", "dd", "ee", "ff"):  # the checksums of the paragraphs would allow any cut
        parts = [
            f"Start {words}.",
            f"Then {words}.",
            f"It waits until the {words}",
            f"green {words} is lit.",
            "End. " * 6,
        ]
        pages = (1, 1, 1, 2, 2)
        built = build([(ElementKind.PARAGRAPH, text, 0, page) for text, page in zip(parts, pages, strict=True)])
        chunks = chunk_document(built, TOKENIZER, max_tokens=24)
        assert any(f"{parts[2]}\n\n{parts[3]}" in chunk.text for chunk in chunks)


def test_an_element_over_two_pages_names_both() -> None:
    builder = DocumentBuilder()
    builder.add(ElementKind.PARAGRAPH, "It waits until the green lamp is lit.", page=3, last_page=4)
    (chunk,) = chunk_document(builder.build("application/pdf"), TOKENIZER, max_tokens=50)
    assert (chunk.page, chunk.last_page) == (3, 4)


def test_header_and_text_together_fit_the_window() -> None:
    parts = [(ElementKind.HEADING, "Model BX 300", 0, None), (ElementKind.PARAGRAPH, "Wipe it dry. " * 40, 0, None)]
    chunks = chunk_document(build(parts), TOKENIZER, max_tokens=30, window_tokens=30)
    assert [chunk.header for chunk in chunks] == ["", *["Model BX 300"] * (len(chunks) - 1)]
    assert all(TOKENIZER.count(chunk.searched_text) <= 30 for chunk in chunks)
    roomy = chunk_document(build(parts), TOKENIZER, max_tokens=30)
    assert max(TOKENIZER.count(chunk.text) for chunk in roomy) > 30 - 4, "without a window, the text is as long as ever"


def test_a_long_heading_path_is_shortened() -> None:
    names = [f"Chapter {letter} of the book" for letter in "abcdef"]
    parts = [(ElementKind.HEADING, name, level, None) for level, name in enumerate(names)]
    chunks = chunk_document(build([*parts, (ElementKind.PARAGRAPH, "word " * 90, 0, None)]), TOKENIZER, max_tokens=60)
    assert chunks[-1].header == f"{names[0]} > {names[-1]}"
    narrow = chunk_document(build([*parts, (ElementKind.PARAGRAPH, "word " * 90, 0, None)]), TOKENIZER, max_tokens=8)
    assert all(TOKENIZER.count(chunk.header) <= 2 for chunk in narrow)


@pytest.mark.parametrize(
    ("metadata", "media_type", "first", "title"),
    [
        ({"title": "Owner's  manual"}, "application/pdf", "Fuses", "Owner's manual"),
        ({"title": "Microsoft Word - manual.doc"}, "application/pdf", "Fuses", "Fuses"),
        ({"title": "untitled"}, "application/pdf", "1. Fuses", ""),
        ({}, "text/markdown", "Model BX-300", "Model BX-300"),
        ({}, "application/mbox", "Re: fuses", ""),
    ],
)
def test_the_title_is_the_property_or_the_first_heading(
    metadata: dict[str, str], media_type: str, first: str, title: str
) -> None:
    builder = DocumentBuilder()
    for heading in (first, "Lamps"):
        builder.add(ElementKind.HEADING, heading)
        builder.add(ElementKind.PARAGRAPH, "They are in the box. " * 3)
    document = builder.build(media_type, **metadata)
    assert document.title == title
    last = chunk_document(document, TOKENIZER, max_tokens=60)[-1]
    assert last.header == title and last.text.startswith("Lamps")


def test_a_text_without_headings_has_no_header_and_no_other_hash_than_its_own() -> None:
    (chunk,) = chunk_document(document_of("Nothing above it."), TOKENIZER, max_tokens=60)
    assert (chunk.header, chunk.content_hash) == ("", content_hash_of("Nothing above it."))


@pytest.mark.parametrize("dashes", ["| --- | ---: |", "--- | ---", "|:-:|---|"])
def test_each_chunk_of_a_markdown_table_names_the_columns(dashes: str) -> None:
    rows = [f"| Town {number} | {number} |" for number in range(30)]
    parts = [
        (ElementKind.HEADING, "Stock", 0, None),
        (ElementKind.TABLE, "\n".join(["| city | price |", dashes, *rows]), 0, None),
    ]
    chunks = chunk_document(build(parts), TOKENIZER, max_tokens=60, overlap_tokens=10, window_tokens=60)
    assert len(chunks) > 4 and chunks[0].header == ""
    assert {chunk.header for chunk in chunks[1:]} == {"Stock\n| city | price |"}
    assert all(TOKENIZER.count(chunk.searched_text) <= 60 for chunk in chunks)


def test_a_table_without_a_row_of_dashes_has_no_columns_to_name() -> None:
    document = build([(ElementKind.TABLE, "\n".join(f"{number} | {number}" for number in range(40)), 0, None)])
    assert {chunk.header for chunk in chunk_document(document, TOKENIZER, max_tokens=20)} == {""}


def test_very_many_columns_leave_room_for_the_rows() -> None:
    head = "| " + " | ".join(f"column {number}" for number in range(500)) + " |"
    document = build([(ElementKind.TABLE, "\n".join([head, "|---|", *["| 1 | 2 |"] * 60]), 0, None)])
    chunks = chunk_document(document, TOKENIZER, max_tokens=60, window_tokens=60)
    assert all(TOKENIZER.count(chunk.searched_text) <= 60 and len(chunk.header) < 200 for chunk in chunks)


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
    (chunk,) = chunk_document(builder.build("message/rfc822"), TOKENIZER, max_tokens=50)
    assert (chunk.text, chunk.page, chunk.last_page) == ("Attachment: offer.pdf\n\nfirst words\n\nsecond words", 1, 2)
