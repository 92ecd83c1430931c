"""Reads the header of a GGUF file: what its model is, and where the file has to end.

The file may be hostile: counts and lengths are checked before they are used, and long arrays are skipped unread.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import ConfigurationError
from core.models.attention_windows import windowed_layers
from core.models.gguf_types import BLOCKS, FILE_TYPES, NUMBERS

MAGIC = b"GGUF"
#: Version 1 had shorter lengths; no later version exists.
VERSIONS = (2, 3)
#: The longest headers hold 260,000 tokens and 500,000 merges in about 20 MB.
MAX_HEADER_BYTES = 64 * 2**20
MAX_ENTRIES = 65_536
MAX_TENSORS = 65_536
MAX_DIMENSIONS = 4
MAX_KEY_BYTES = 1_024
#: Longer texts (chat templates) and arrays (vocabularies) are skipped.
MAX_TEXT_BYTES = 4_096
MAX_KEPT_ITEMS = 1_024
DEFAULT_ALIGNMENT = 32

_BUFFER_BYTES = 2**20
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
#: An entry that was skipped, with its number of items or bytes.
_Skipped = int


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of its model. Lengths are in tokens; 0 and "" mean that the file does not say."""

    architecture: str
    #: `general.name`.
    name: str
    #: What kind of file it is, if it is no model: `adapter`, `mmproj`, `imatrix`.
    type: str
    #: The type of most weights, such as `Q4_K_M`.
    quantisation: str
    #: The context that the model was trained with.
    context_length: int
    block_count: int
    embedding_length: int
    #: Heads of a layer; of layers that differ, those of the first.
    head_count: int
    #: Heads of all layers together that are kept in the KV cache.
    all_heads_kv: int
    #: Those of them that are in layers which attend to a sliding window only, and that window, in tokens.
    windowed_heads_kv: int
    window_tokens: int
    key_length: int
    value_length: int
    vocab_size: int
    has_chat_template: bool
    #: Weights in this file.
    parameters: int
    tensors: int
    #: Files that the model is split into, and the number of this one, from 0.
    split_count: int
    split_no: int
    #: Where the data of the last tensor ends.
    expected_bytes: int


def read_header(path: Path) -> GgufHeader:
    """Return what the header of a GGUF file says.

    Raises:
        ConfigurationError: the file cannot be read, is not a GGUF file of a known version, is damaged, or is cut off.
            The message names the file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            header = _Reader(file, path, size).header()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}.") from error
    if size < header.expected_bytes:
        raise _cut_off(path, size, header.expected_bytes)
    return header


def _cut_off(path: Path, size: int, expected: int | None = None) -> ConfigurationError:
    end = f"it has {size:,} of {expected:,} bytes" if expected else f"its header does not end within {size:,} bytes"
    return ConfigurationError(f"{path}: the GGUF file is cut off: {end}. Copy or download it again.")


class _Reader:
    """Reads a header from the beginning to the end, through a buffer that moves along."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size
        self._buffer = b""
        #: Offsets in the file: of the buffer, and of what is read next.
        self._base = self._at = 0

    def header(self) -> GgufHeader:
        if self._bytes(min(len(MAGIC), self._size)) != MAGIC:
            raise ConfigurationError(
                f"{self._path}: not a GGUF file (it does not begin with {MAGIC.decode()}). llama.cpp loads GGUF only: "
                "choose a .gguf file of the model, or download it again if it was cut short."
            )
        version = self._number(4)
        if version not in VERSIONS:
            raise ConfigurationError(
                f"{self._path}: version {version} of GGUF is not supported, only {VERSIONS[0]} and {VERSIONS[1]} "
                "(little-endian): download a newer file of the model."
            )
        tensors, entries = self._number(10), self._number(10)
        if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
            raise self._damaged(f"it claims {tensors:,} tensors and {entries:,} entries")
        fields = dict(self._entry() for _ in range(entries))
        parameters, end = self._tensors(tensors, _number_of(fields, "general.alignment") or DEFAULT_ALIGNMENT)
        return _described(fields, parameters, tensors, end)

    def _entry(self) -> tuple[str, Any]:
        key = self._text(MAX_KEY_BYTES)
        if key is None:
            raise self._damaged("the name of an entry is too long")
        kind = self._number(4)
        if kind == _STRING:
            return key, self._text(MAX_TEXT_BYTES)
        return key, self._array() if kind == _ARRAY else self._number(kind)

    def _array(self) -> list[Any] | _Skipped:
        kind, count = self._number(4), int(self._number(10))
        if kind == _STRING:
            self._skip_texts(count)
            return count
        if kind not in NUMBERS:
            raise self._damaged(f"it has an array of values of type {kind}")
        if count <= MAX_KEPT_ITEMS:
            return [self._number(kind) for _ in range(count)]
        self._skip(count * struct.calcsize(NUMBERS[kind]))
        return count

    def _tensors(self, count: int, alignment: int) -> tuple[int, int]:
        """Return the weights of all tensors, and where the data of the last one ends."""
        if alignment & (alignment - 1) or not 0 < alignment <= _BUFFER_BYTES:
            raise self._damaged(f"its alignment is {alignment}")
        parameters = data_bytes = 0
        for _ in range(count):
            self._text(MAX_KEY_BYTES)
            dimensions = self._number(4)
            if dimensions > MAX_DIMENSIONS:
                raise self._damaged(f"a tensor has {dimensions} dimensions")
            weights = 1
            for _ in range(dimensions):
                weights *= self._number(10)
            kind, offset = self._number(4), self._number(10)
            # A type that is newer than this table: at least the tensor begins within the file.
            block_weights, block_bytes = BLOCKS.get(kind, (1, 0))
            parameters += weights
            data_bytes = max(data_bytes, offset + -(-weights // block_weights) * block_bytes)
        padding = -self._at % alignment if data_bytes else 0
        return parameters, self._at + padding + data_bytes

    def _number(self, kind: int) -> Any:
        form = NUMBERS.get(kind)
        if form is None:
            raise self._damaged(f"it has a value of type {kind}")
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _text(self, longest_bytes: int) -> str | None:
        """Return a text, or None if it is longer than this; then it is skipped."""
        length = self._number(10)
        if length > longest_bytes:
            self._skip(length)
            return None
        return self._bytes(length).decode("utf-8", errors="replace")

    def _skip_texts(self, count: int) -> None:
        """Skip so many texts: 150,000 take about 15 ms."""
        unpack, done = _LENGTH.unpack_from, 0
        while done < count:
            self._fill(_LENGTH.size)
            buffer, at = self._buffer, self._at - self._base
            last = len(buffer) - _LENGTH.size
            while done < count and at <= last:
                at += _LENGTH.size + unpack(buffer, at)[0]
                done += 1
            self._skip(self._base + at - self._at)

    def _skip(self, count: int) -> None:
        self._at += count
        self._check_position()

    def _bytes(self, count: int) -> bytes:
        self._fill(count)
        start = self._at - self._base
        self._at += count
        return self._buffer[start : start + count]

    def _fill(self, count: int) -> None:
        """Read on, unless the buffer has the next `count` bytes."""
        if self._base <= self._at and self._at + count <= self._base + len(self._buffer):
            return
        self._check_position(count)
        self._file.seek(self._at)
        self._base, self._buffer = self._at, self._file.read(max(count, _BUFFER_BYTES))
        if len(self._buffer) < count:
            raise _cut_off(self._path, self._size)

    def _check_position(self, more: int = 0) -> None:
        if self._at + more > MAX_HEADER_BYTES:
            raise self._damaged(f"its header is longer than {MAX_HEADER_BYTES:,} bytes")
        if self._at + more > self._size:
            raise _cut_off(self._path, self._size)

    def _damaged(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: the GGUF file is damaged: {what}. Download it again.")


def _described(fields: Mapping[str, Any], parameters: int, tensors: int, end: int) -> GgufHeader:
    architecture = _text_of(fields, "general.architecture")

    def number(name: str) -> int:
        return _number_of(fields, f"{architecture}.{name}")

    layers, width, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    kv = fields.get(f"{architecture}.attention.head_count_kv", heads)
    heads_kv = [_whole(value) for value in kv] if isinstance(kv, list) else [_whole(kv)] * min(layers, MAX_KEPT_ITEMS)
    window, windowed = windowed_layers(fields, architecture, len(heads_kv))
    head = width // heads if heads else 0
    return GgufHeader(
        architecture=architecture,
        name=_text_of(fields, "general.name"),
        type=_text_of(fields, "general.type"),
        quantisation=_file_type(fields.get("general.file_type")),
        context_length=number("context_length"),
        block_count=layers,
        embedding_length=width,
        head_count=heads,
        all_heads_kv=sum(heads_kv),
        windowed_heads_kv=sum(count for count, is_windowed in zip(heads_kv, windowed, strict=True) if is_windowed),
        window_tokens=window,
        key_length=number("attention.key_length") or head,
        value_length=number("attention.value_length") or head,
        vocab_size=_number_of(fields, "tokenizer.ggml.tokens") or number("vocab_size"),
        has_chat_template="tokenizer.chat_template" in fields,
        parameters=parameters,
        tensors=tensors,
        split_count=_number_of(fields, "split.count"),
        split_no=_number_of(fields, "split.no"),
        expected_bytes=end,
    )


def _number_of(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    return _whole(value[0] if isinstance(value, list) and value else value)


def _file_type(value: Any) -> str:
    return FILE_TYPES.get(value, "") if isinstance(value, int) else ""


def _whole(value: Any) -> int:
    """Return a number that is not negative: a header may hold any."""
    return max(0, value) if isinstance(value, int) else 0


def _text_of(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
