"""The compression of RTF within Outlook's messages ([MS-OXRTFCP]): a dictionary of the last 4 KB, filled beforehand."""

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
    """The RTF; as much of it as there is, if it was cut off. At most 9 times as long as the data.

    Raises:
        ValueError: it is not compressed so.
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
                place, length = token >> 4, (token & 15) + 2
                # The place that is written to next marks the end.
                if place == end or position + 2 > len(data):
                    return bytes(found)
                position += 2
            else:
                if position == len(data):
                    return bytes(found)
                place, length = end, 1
                window[end] = data[position]
                position += 1
            # One after the other: what is repeated may reach into what it repeats.
            for step in range(length):
                letter = window[(place + step) % _DICTIONARY_BYTES]
                found.append(letter)
                window[end] = letter
                end = (end + 1) % _DICTIONARY_BYTES
    return bytes(found)
