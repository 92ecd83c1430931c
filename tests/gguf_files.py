"""Copies of GGUF files with another chat template and other tokens."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

#: Types of a token: a control token, and a text token that the user has added.
CONTROL, USER_DEFINED = 3, 4
ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
#: The `struct` formats of numbers by their GGUF type.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
Value = tuple[int, Any]


def changed_copy(source: Path, target: Path, template: str, renamed: Mapping[str, tuple[str, int]]) -> Path:
    """Write a copy of `source` to `target`, with another chat template and other texts and types for some tokens."""
    with source.open("rb") as file:
        magic, version, tensors, count = _read(file, "4sIQQ")
        fields = dict(_field(file) for _ in range(count))
        fields["tokenizer.chat_template"] = (_STRING, template.encode())
        _rename(fields, {old.encode(): (new.encode(), kind) for old, (new, kind) in renamed.items()})
        infos = b"".join(_tensor_info(file) for _ in range(tensors))
        file.seek(-file.tell() % ALIGNMENT, 1)
        head = struct.pack("<4sIQQ", magic, version, tensors, len(fields))
        head += (
            b"".join(
                _string(name) + struct.pack("<I", kind) + _packed(kind, value)
                for name, (kind, value) in ((name.encode(), value) for name, value in fields.items())
            )
            + infos
        )
        target.write_bytes(head + bytes(-len(head) % ALIGNMENT) + file.read())
    return target


def _rename(fields: dict[str, Value], renamed: Mapping[bytes, tuple[bytes, int]]) -> None:
    (_, (_, texts)), (_, (_, kinds)) = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    for old, (new, kind) in renamed.items():
        at = texts.index(old)
        texts[at], kinds[at] = new, kind


def _read(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))


def _field(file: BinaryIO) -> tuple[str, Value]:
    (size,) = _read(file, "Q")
    name = file.read(size).decode()
    (kind,) = _read(file, "I")
    return name, (kind, _value(file, kind))


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        (size,) = _read(file, "Q")
        return file.read(size)
    if kind == _ARRAY:
        inner, count = _read(file, "IQ")
        if inner in _NUMBERS:
            return inner, list(_read(file, f"{count}{_NUMBERS[inner]}"))
        return inner, [_value(file, inner) for _ in range(count)]
    return _read(file, _NUMBERS[kind])[0]


def _tensor_info(file: BinaryIO) -> bytes:
    start = file.tell()
    (size,) = _read(file, "Q")
    file.seek(size, 1)
    (dimensions,) = _read(file, "I")
    file.seek(8 * dimensions + 12, 1)  # the dimensions, the type and the offset
    end = file.tell()
    file.seek(start)
    return file.read(end - start)


def _packed(kind: int, value: Any) -> bytes:
    if kind == _STRING:
        return _string(value)
    if kind == _ARRAY:
        inner, items = value
        packed = (_packed(inner, item) for item in items)
        return struct.pack("<IQ", inner, len(items)) + b"".join(packed)
    return struct.pack(f"<{_NUMBERS[kind]}", value)


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text
