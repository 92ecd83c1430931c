"""The compression of RTF in Outlook messages ([MS-OXRTFCP]): a sliding dictionary of 4 KB with preset content."""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<III4x")
_COMPRESSED, _PLAIN = 0x75465A4C, 0x414C454D
_DICTIONARY_BYTES = 4096
_PRESET = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor "
    rb"MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0" + b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)


def decompress_rtf(data: bytes) -> bytes:
    """Decompress RTF. Truncated data yields as much as it contains; the result is at most 9 times as long as the data.

    Raises:
        ValueError: If the data is too short or its compression is unknown.
    """
    if len(data) < _HEADER.size:
        raise ValueError("it is too short")
    _, size, kind = _HEADER.unpack_from(data)
    if kind == _PLAIN:
        return data[_HEADER.size : _HEADER.size + size]
    if kind != _COMPRESSED:
        raise ValueError(f"its compression {kind:#x} is not known")
    return _expand(data, _HEADER.size)[:size]


def _expand(data: bytes, position: int) -> bytes:
    window = bytearray(_PRESET.ljust(_DICTIONARY_BYTES, b"\0"))
    end = len(_PRESET)
    found = bytearray()
    while position < len(data):
        flags = data[position]
        position += 1
        for bit in range(8):
            if flags >> bit & 1:
                token = int.from_bytes(data[position : position + 2], "big")
                offset, length = token >> 4, (token & 15) + 2
                # A reference to the current write offset marks the end.
                if offset == end or position + 2 > len(data):
                    return bytes(found)
                position += 2
            else:
                if position == len(data):
                    return bytes(found)
                offset, length = end, 1
                window[end] = data[position]
                position += 1
            # Byte by byte, because a repetition may overlap the bytes that it repeats.
            for step in range(length):
                letter = window[(offset + step) % _DICTIONARY_BYTES]
                found.append(letter)
                window[end] = letter
                end = (end + 1) % _DICTIONARY_BYTES
    return bytes(found)
