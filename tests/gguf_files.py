"""GGUF files for tests: copies with another chat template and other tokens, models with random weights, tiny files."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

#: Types of a token: a control token, and a text token that the user has added.
CONTROL, USER_DEFINED = 3, 4
ALIGNMENT = 32
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 6, 7, 8, 9
#: The `struct` formats of numbers by their GGUF type.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
Value = tuple[int, Any]
#: Types of tensors, and the weights and bytes of a block of Q4_0: a scale and 4 bits for each weight.
_F32, _Q4_0 = 0, 2
_BLOCK_WEIGHTS, _BLOCK_BYTES = 32, 18
#: The random blocks that are written again and again: a prime number, so that no two rows of a matrix are the same.
_RANDOM_BLOCKS = 999_983
#: With it, the weights have a standard deviation of 0.02.
_SCALE = np.float16(0.0043)


@dataclass(frozen=True)
class Shape:
    """The shape of a Llama model."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    #: The context that it says it was trained with.
    trained_tokens: int


#: As Llama 3.2 1B and Mistral 7B.
SHAPE_1B = Shape(layers=16, width=2048, heads=32, kv_heads=8, feed_forward=8192, trained_tokens=131_072)
SHAPE_7B = Shape(layers=32, width=4096, heads=32, kv_heads=8, feed_forward=14_336, trained_tokens=32_768)


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
        head += _packed_fields(fields) + infos
        target.write_bytes(head + bytes(-len(head) % ALIGNMENT) + file.read())
    return target


def random_model(source: Path, target: Path, shape: Shape) -> Path:
    """Write a model of this shape to `target`, with random weights in Q4_0, and the tokenizer and template of `source`.

    The weights are no model of anything, but take the memory and the time that others of this shape take.
    """
    fields = tokenizer_fields(source) | _shape_fields(shape)
    (_, (_, tokens)) = fields["tokenizer.ggml.tokens"]
    infos, offset = b"", 0
    for name, dimensions in _tensors(shape, len(tokens)):
        size = _tensor_bytes(dimensions)
        infos += _string(name.encode()) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        infos += struct.pack("<IQ", _F32 if len(dimensions) == 1 else _Q4_0, offset)
        offset += size + -size % ALIGNMENT
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(list(_tensors(shape, 0))), len(fields))
    head += _packed_fields(fields)
    head += infos
    with target.open("wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        _write_tensors(file, shape, len(tokens))
    return target


def tiny_model(
    target: Path, changed: Mapping[str, Value | None] | None = None, weights: int = 64, vocabulary: int = 4
) -> Path:
    """Write a GGUF file of a few hundred bytes to `target`: the header of a model of 1B and a single tensor.

    `changed` has fields to add or replace by their type and value, and those to leave out as None.
    """
    fields: dict[str, Value] = _shape_fields(SHAPE_1B) | {
        "tokenizer.ggml.tokens": (_ARRAY, (_STRING, [b"token%d" % number for number in range(vocabulary)])),
        "tokenizer.chat_template": (_STRING, b"{{ messages }}"),
        "general.name": (_STRING, target.stem.encode()),
    }
    kept = {name: value for name, value in (fields | dict(changed or {})).items() if value is not None}
    info = _string(b"token_embd.weight") + struct.pack("<IQIQ", 1, weights, _F32, 0)
    head = struct.pack("<4sIQQ", b"GGUF", 3, 1, len(kept)) + _packed_fields(kept) + info
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(head + bytes(-len(head) % ALIGNMENT) + bytes(4 * weights))
    return target


def text_field(text: str) -> Value:
    """Return a field with a text."""
    return _STRING, text.encode()


def number_field(number: int) -> Value:
    """Return a field with a number."""
    return _UINT32, number


def _packed_fields(fields: Mapping[str, Value]) -> bytes:
    return b"".join(
        _string(name.encode()) + struct.pack("<I", kind) + _packed(kind, value)
        for name, (kind, value) in fields.items()
    )


def written_model(target: Path, fields: Mapping[str, Value], tensors: Mapping[str, NDArray[np.float32]]) -> Path:
    """Write a model with these metadata and weights, by their names in the file; the sizes of a row come last."""
    infos, offset = b"", 0
    for name, array in tensors.items():
        infos += _string(name.encode()) + struct.pack(f"<I{array.ndim}Q", array.ndim, *reversed(array.shape))
        infos += struct.pack("<IQ", _F32, offset)
        offset += array.nbytes + -array.nbytes % ALIGNMENT
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(fields))
    head += _packed_fields(fields) + infos
    with target.open("wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for array in tensors.values():
            file.write(array.tobytes() + bytes(-array.nbytes % ALIGNMENT))
    return target


def tokenizer_fields(source: Path) -> dict[str, Value]:
    """Return the metadata of a model that describe its tokenizer and chat template."""
    with source.open("rb") as file:
        _, _, _, count = _read(file, "4sIQQ")
        fields = dict(_field(file) for _ in range(count))
    return {name: value for name, value in fields.items() if name.startswith("tokenizer.")}


def field_of(value: str | int | float | bool) -> Value:
    """Return a value of a file's metadata with its type."""
    if isinstance(value, str):
        return _STRING, value.encode()
    if isinstance(value, bool):
        return _BOOL, value
    return (_UINT32, value) if isinstance(value, int) else (_FLOAT32, value)


def _shape_fields(shape: Shape) -> dict[str, Value]:
    numbers = {
        "context_length": shape.trained_tokens,
        "embedding_length": shape.width,
        "block_count": shape.layers,
        "feed_forward_length": shape.feed_forward,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "rope.dimension_count": shape.width // shape.heads,
    }
    fields: dict[str, Value] = {f"llama.{name}": (_UINT32, number) for name, number in numbers.items()}
    fields["general.architecture"] = _STRING, b"llama"
    fields["general.file_type"] = _UINT32, _Q4_0
    fields["llama.attention.layer_norm_rms_epsilon"] = _FLOAT32, 1e-5
    return fields


def _tensors(shape: Shape, vocab_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and the dimensions of each tensor, those of a row first."""
    width, keys = shape.width, shape.width // shape.heads * shape.kv_heads
    yield "token_embd.weight", (width, vocab_size)
    yield "output_norm.weight", (width,)
    for layer in range(shape.layers):
        sizes = {
            "attn_norm": (width,),
            "attn_q": (width, width),
            "attn_k": (width, keys),
            "attn_v": (width, keys),
            "attn_output": (width, width),
            "ffn_norm": (width,),
            "ffn_gate": (width, shape.feed_forward),
            "ffn_up": (width, shape.feed_forward),
            "ffn_down": (shape.feed_forward, width),
        }
        for name, dimensions in sizes.items():
            yield f"blk.{layer}.{name}.weight", dimensions


def _tensor_bytes(dimensions: tuple[int, ...]) -> int:
    if len(dimensions) == 1:
        return 4 * dimensions[0]
    return dimensions[0] * dimensions[1] // _BLOCK_WEIGHTS * _BLOCK_BYTES


def _write_tensors(file: BinaryIO, shape: Shape, vocab_size: int) -> None:
    blocks = np.random.default_rng(1).integers(0, 256, (_RANDOM_BLOCKS, _BLOCK_BYTES), np.uint8)
    blocks[:, :2] = np.frombuffer(_SCALE.tobytes(), np.uint8)
    data, at = memoryview(blocks.reshape(-1)), 0
    for _, dimensions in _tensors(shape, vocab_size):
        size = left = _tensor_bytes(dimensions)
        if len(dimensions) == 1:
            file.write(np.ones(dimensions[0], np.float32).tobytes())
            left = 0
        while left:
            piece = data[at : at + left]
            file.write(piece)
            left, at = left - len(piece), (at + len(piece)) % len(data)
        file.write(bytes(-size % ALIGNMENT))


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
