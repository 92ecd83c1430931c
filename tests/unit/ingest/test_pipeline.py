"""The pipeline from a file to its chunks on disk, with the tokenizer of the starter model."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import DocumentRejected
from core.settings import Settings
from ingest.chunker import ChunkSettings
from ingest.embedding.tokenizer import load_tokenizer
from ingest.indexing.chunk_files import read_chunks
from ingest.pipeline import ParseResult, parse_to_chunks, warm_up

SENTENCE = "The night train to Vienna leaves from platform nine at half past ten. "


def write(folder: Path, text: str, name: str = "note.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_chunks_are_written_and_read_back(tmp_path: Path, offline_settings: Settings) -> None:
    text = SENTENCE * 80 + "\n\nThe last fact is that the dining car serves goulash."
    out = tmp_path / "chunks" / "doc-1" / "1.jsonl"
    result = parse_to_chunks(write(tmp_path, text), "note.txt", out, offline_settings)
    chunks = read_chunks(out)
    assert result == ParseResult(len(chunks), "text/plain")
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert chunks[-1].text.endswith("serves goulash.")
    assert [path.name for path in out.parent.iterdir()] == ["1.jsonl"]


def test_no_chunk_is_truncated_by_the_model(tmp_path: Path, offline_settings: Settings) -> None:
    text = "\n\n".join(
        (SENTENCE * 40, "pneumonoultramicroscopic" * 200, "你好世界。" * 300, "👩‍👩‍👧 " * 200, "x = 1\n" * 400)
    )
    parse_to_chunks(write(tmp_path, text), "note.txt", tmp_path / "out.jsonl", offline_settings)
    tokenizer = load_tokenizer(offline_settings)
    sizes = [tokenizer.count(chunk.text) for chunk in read_chunks(tmp_path / "out.jsonl")]
    assert max(sizes) <= tokenizer.max_tokens
    assert max(sizes) > tokenizer.max_tokens * 0.9


def test_the_chunk_size_is_a_setting(tmp_path: Path, offline_settings: Settings) -> None:
    settings = offline_settings.model_copy(update={"chunk_tokens": 40, "chunk_overlap_tokens": 0})
    parse_to_chunks(write(tmp_path, SENTENCE * 10), "note.txt", tmp_path / "out.jsonl", settings)
    assert {load_tokenizer(settings).count(chunk.text) for chunk in read_chunks(tmp_path / "out.jsonl")} <= set(
        range(41)
    )


def test_a_collections_chunk_size_overrides_the_servers(tmp_path: Path, offline_settings: Settings) -> None:
    settings = offline_settings.model_copy(update={"chunk_tokens": 200})
    out, own = tmp_path / "out.jsonl", ChunkSettings(tokens=20, overlap_tokens=0)
    parse_to_chunks(write(tmp_path, SENTENCE * 10), "note.txt", out, settings, own)
    chunks = read_chunks(out)
    assert len(chunks) == 10
    assert all(left.end <= right.start for left, right in zip(chunks, chunks[1:], strict=False))


@pytest.mark.parametrize(("tokens", "expected"), [(None, 254), (100, 100), (9000, 254)])
def test_no_chunk_size_is_over_the_models_window(tokens: int | None, expected: int) -> None:
    assert ChunkSettings(tokens).max_tokens(254) == expected
    assert ChunkSettings().max_tokens(8192) == 512


def test_the_metadata_of_a_file_is_returned(tmp_path: Path, offline_settings: Settings) -> None:
    (tmp_path / "mail.eml").write_text(f"From: a@example.com\nDate: x\nSubject: {'long ' * 1000}\n\nText.\n")
    result = parse_to_chunks(tmp_path / "mail.eml", "mail.eml", tmp_path / "out.jsonl", offline_settings)
    assert result.media_type == "message/rfc822"
    assert result.properties["from"] == "a@example.com"
    assert len(result.properties["subject"]) == 1000


def test_a_refused_file_leaves_no_chunks(tmp_path: Path, offline_settings: Settings) -> None:
    out = tmp_path / "chunks" / "1.jsonl"
    with pytest.raises(DocumentRejected, match="empty"):
        parse_to_chunks(write(tmp_path, ""), "note.txt", out, offline_settings)
    assert not out.exists()


def test_writing_again_replaces_the_chunks(tmp_path: Path, offline_settings: Settings) -> None:
    out = tmp_path / "1.jsonl"
    for text in ("first", "second"):
        parse_to_chunks(write(tmp_path, text), "note.txt", out, offline_settings)
    assert [chunk.text for chunk in read_chunks(out)] == ["second"]


def test_a_failed_write_leaves_the_old_chunks(
    tmp_path: Path, offline_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "1.jsonl"
    parse_to_chunks(write(tmp_path, "first"), "note.txt", out, offline_settings)

    def full_disk(_path: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        parse_to_chunks(write(tmp_path, "second"), "note.txt", out, offline_settings)
    assert [chunk.text for chunk in read_chunks(out)] == ["first"]
    assert [path.name for path in out.parent.iterdir()] == ["1.jsonl"]


def test_memory_over_the_limit_is_an_error_not_a_dead_process(
    tmp_path: Path, offline_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object, **__: object) -> None:
        bytearray(2**30)

    settings = offline_settings.model_copy(update={"parse_memory_bytes": 256 * 2**20})
    monkeypatch.setattr("ingest.pipeline.parse_unknown", greedy)
    with pytest.raises(MemoryError):
        parse_to_chunks(write(tmp_path, "text"), "note.txt", tmp_path / "1.jsonl", settings)


@pytest.mark.parametrize("content", ["not json\n", '{"index": "one"}\n'])
def test_chunks_that_cannot_be_read_count_as_missing(tmp_path: Path, content: str) -> None:
    with pytest.raises(FileNotFoundError, match="no readable chunks"):
        read_chunks(write(tmp_path, content, "1.jsonl"))


def test_missing_chunks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_chunks(tmp_path / "none.jsonl")


def test_warm_up(offline_settings: Settings) -> None:
    warm_up()
    warm_up(offline_settings)


@pytest.mark.parametrize(
    "text",
    [
        "%PDF-1.4 is how a PDF begins.",
        "<html><b>bold</b> and more</html>",
        "From: a@b.c\nSubject: x\n\nbody",
        '{"a": 1}',
    ],
)
def test_declared_text_is_read_unchanged(tmp_path: Path, text: str, offline_settings: Settings) -> None:
    out = tmp_path / "out.jsonl"
    result = parse_to_chunks(write(tmp_path, text), "note.txt", out, offline_settings, is_text=True)
    assert result.media_type == "text/plain"
    assert "".join(chunk.text for chunk in read_chunks(out)).split() == text.split()


def test_text_with_a_nul_in_it_is_text(tmp_path: Path, offline_settings: Settings) -> None:
    out = tmp_path / "out.jsonl"
    parse_to_chunks(write(tmp_path, "one\0two"), "note.txt", out, offline_settings, is_text=True)
    assert "two" in read_chunks(out)[0].text


def test_text_is_markdown_by_its_name(tmp_path: Path, offline_settings: Settings) -> None:
    out = tmp_path / "out.jsonl"
    result = parse_to_chunks(write(tmp_path, "# Head\n\nText."), "note.md", out, offline_settings, is_text=True)
    assert (result.media_type, read_chunks(out)[0].section) == ("text/markdown", "Head")
