"""The headers of GGUF files: what they say, and files that are damaged, cut off, or made to harm."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.models import gguf
from core.models.files import STARTER_PACKAGE, configured_model
from core.models.gguf import read_header
from core.settings import load_settings
from tests.gguf_files import SHAPE_1B, Value, number_field, text_field, tiny_model

EMPTY = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0)


def test_a_header_says_what_the_model_is(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "Tiny.gguf", {"general.file_type": number_field(15)}, weights=64, vocabulary=300)
    header = read_header(path)
    assert (header.architecture, header.name, header.quantisation) == ("llama", "Tiny", "Q4_K_M")
    assert header.context_length == SHAPE_1B.trained_tokens
    assert (header.block_count, header.head_count) == (SHAPE_1B.layers, SHAPE_1B.heads)
    assert header.all_heads_kv == SHAPE_1B.layers * SHAPE_1B.kv_heads
    assert header.key_length == header.value_length == SHAPE_1B.width // SHAPE_1B.heads
    assert header.vocab_size == 300 and header.has_chat_template
    assert (header.tensors, header.parameters) == (1, 64)
    assert header.expected_bytes == path.stat().st_size


def test_the_starter_ends_where_its_header_says() -> None:
    path = configured_model(load_settings(_env_file=None)).path
    assert path is not None and STARTER_PACKAGE in str(path)
    header = read_header(path)
    assert header.expected_bytes == path.stat().st_size
    assert (header.context_length, header.vocab_size) == (8192, 49_152)


def test_what_a_header_leaves_out_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.write_bytes(EMPTY)
    header = read_header(path)
    assert (header.architecture, header.quantisation, header.context_length, header.all_heads_kv) == ("", "", 0, 0)
    assert not header.has_chat_template and header.expected_bytes == len(EMPTY)


def test_layers_may_differ_in_their_heads(tmp_path: Path) -> None:
    heads = (9, (4, [8, 0, 0, 4]))
    path = tiny_model(tmp_path / "hybrid.gguf", {"llama.attention.head_count_kv": heads})
    assert read_header(path).all_heads_kv == 12


@pytest.mark.parametrize(
    ("architecture", "changed", "windowed", "window"),
    [
        ("llama", {}, 0, 0),
        ("gemma2", {}, 3, 4096),
        ("gemma3", {}, 0, 0),  # its larger models say their window, and the others have none
        ("gemma3", {"attention.sliding_window": number_field(512)}, 5, 512),
        ("gemma3", {"attention.sliding_window": number_field(512), "attention.sliding_window_pattern": number_field(3)},
         4, 512),
        ("cohere2moe", {"attention.sliding_window": number_field(64)}, 4, 64),
        ("new", {"attention.sliding_window": number_field(64), "attention.sliding_window_pattern": (9, (7, [1, 0, 1]))},
         2, 64),
        ("new", {"attention.sliding_window": number_field(64)}, 0, 0),
    ],
)  # fmt: skip
def test_layers_with_a_sliding_window_are_known(
    tmp_path: Path, architecture: str, changed: dict[str, Value], windowed: int, window: int
) -> None:
    numbers = {"block_count": 6, "attention.head_count": 8, "attention.head_count_kv": 4}
    fields = {name: number_field(number) for name, number in numbers.items()} | changed
    named = {f"{architecture}.{name}": value for name, value in fields.items()}
    path = tiny_model(tmp_path / "a.gguf", {"general.architecture": text_field(architecture), **named})
    header = read_header(path)
    assert (header.all_heads_kv, header.windowed_heads_kv, header.window_tokens) == (24, 4 * windowed, window)


def test_long_texts_and_vocabularies_are_skipped(tmp_path: Path) -> None:
    # Given a vocabulary and a template that are longer than a piece that is read at once
    template = text_field("x" * 3 * gguf._BUFFER_BYTES)
    path = tiny_model(tmp_path / "large.gguf", {"tokenizer.chat_template": template}, vocabulary=50_000)
    # Then the fields after them are found
    header = read_header(path)
    assert header.vocab_size == 50_000 and header.has_chat_template and header.name == "large"


def test_a_file_that_is_cut_off_anywhere_is_named(tmp_path: Path) -> None:
    whole = tiny_model(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "part.gguf"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match=r"part\.gguf: (the GGUF file is cut off|not a GGUF file)"):
            read_header(path)


def test_a_file_in_another_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<html>not found</html>")
    with pytest.raises(ConfigurationError, match=r"page\.gguf: not a GGUF file"):
        read_header(path)
    with pytest.raises(ConfigurationError, match=r"gone\.gguf: cannot be read: No such file"):
        read_header(tmp_path / "gone.gguf")


@pytest.mark.parametrize("version", [1, 4, 0x0300_0000])
def test_other_versions_are_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", version, 0, 0))
    with pytest.raises(ConfigurationError, match=f"version {version} of GGUF is not supported, only 2 and 3"):
        read_header(path)


def key(name: bytes, rest: bytes) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", len(name)) + name + rest


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(struct.pack("<4sIQQ", b"GGUF", 3, 2**63, 0), id="tensors"),
        pytest.param(struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**63), id="entries"),
        pytest.param(key(b"k", struct.pack("<IIQ", 9, 8, 2**60) + bytes(2**20)), id="texts"),
        pytest.param(key(b"k", struct.pack("<IIQ", 9, 10, 2**60)), id="numbers"),
        pytest.param(key(b"k", struct.pack("<IIQ", 9, 9, 1)), id="an array of arrays"),
        pytest.param(key(b"k", struct.pack("<IQ", 8, 2**63)), id="a text"),
        pytest.param(key(b"k", struct.pack("<I", 99)), id="a type"),
        pytest.param(struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 2**62), id="a name"),
        pytest.param(key(b"general.alignment", struct.pack("<II", 4, 3)), id="the alignment"),
        pytest.param(struct.pack("<4sIQQQI", b"GGUF", 3, 1, 0, 0, 2**31), id="dimensions"),
        pytest.param(struct.pack("<4sIQQQI4QIQ", b"GGUF", 3, 1, 0, 0, 4, *[2**63] * 4, 0, 2**63), id="a tensor"),
    ],
)
def test_claims_of_a_hostile_file_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"hostile\.gguf: the GGUF file is (damaged|cut off)"):
        read_header(path)


def test_a_header_may_not_be_longer_than_any_model_needs(tmp_path: Path) -> None:
    path = tmp_path / "endless.gguf"
    with path.open("wb") as file:
        file.write(key(b"k", struct.pack("<IIQ", 9, 10, 2**30)))
        file.truncate(2**34)
    with pytest.raises(ConfigurationError, match="its header is longer than"):
        read_header(path)
