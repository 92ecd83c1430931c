"""Writes OLE containers and Outlook messages, for which there is no library."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

_SECTOR, _MINI, _MINI_CUTOFF = 512, 64, 4096
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


@dataclass
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    children: list[int] = field(default_factory=list)
    start: int = _END
    size: int = 0


def ole_bytes(content: Mapping[str, object]) -> bytes:
    """Return a container. Bytes become streams, mappings become storages."""
    entries = [_Entry("Root Entry", 5)]
    _collect(entries, 0, content)
    sectors: list[bytes] = []
    fat: list[int] = []
    mini_stream, mini_fat = bytearray(), list[int]()
    for entry in entries[1:]:
        entry.size = len(entry.data)
        if entry.kind != 2 or not entry.data:
            continue
        if entry.size >= _MINI_CUTOFF:
            entry.start = _append(sectors, fat, entry.data)
        else:
            count = -(-entry.size // _MINI)
            entry.start = len(mini_fat)
            mini_fat += [*range(entry.start + 1, entry.start + count), _END]
            mini_stream += entry.data.ljust(count * _MINI, b"\0")
    if mini_stream:
        entries[0].start, entries[0].size = _append(sectors, fat, bytes(mini_stream)), len(mini_stream)
    mini_fat_start = _append(sectors, fat, struct.pack(f"<{len(mini_fat)}I", *mini_fat), b"\xff") if mini_fat else _END
    directory = b"".join(_directory_entry(entries, entry) for entry in entries)
    directory_start = _append(sectors, fat, directory)
    fat_sectors = -(-(len(fat) + 1) // 128)
    while (len(fat) + fat_sectors) > fat_sectors * 128:
        fat_sectors += 1
    fat_start = len(sectors)
    fat += [_FAT] * fat_sectors
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_sectors * _SECTOR, b"\xff")
    fat_sector_numbers = [fat_start + number for number in range(fat_sectors)]
    assert fat_sectors <= 109
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6,
        0, fat_sectors, directory_start, 0, _MINI_CUTOFF,
        mini_fat_start, -(-len(mini_fat) * 4 // _SECTOR), _END, 0,
    )  # fmt: skip
    header += struct.pack("<109I", *fat_sector_numbers, *[_FREE] * (109 - fat_sectors))
    return header + b"".join(sectors) + table


def _collect(entries: list[_Entry], parent: int, content: Mapping[str, object]) -> None:
    for name in sorted(content, key=lambda each: (len(each), each.upper())):
        value = content[name]
        entries.append(_Entry(name, 2, value) if isinstance(value, bytes) else _Entry(name, 1))
        position = len(entries) - 1
        entries[parent].children.append(position)
        if isinstance(value, Mapping):
            _collect(entries, position, value)


def _append(sectors: list[bytes], fat: list[int], data: bytes, padding: bytes = b"\0") -> int:
    start, count = len(sectors), -(-len(data) // _SECTOR)
    padded = data.ljust(count * _SECTOR, padding)
    sectors += [padded[number * _SECTOR : (number + 1) * _SECTOR] for number in range(count)]
    fat += [*range(start + 1, start + count), _END]
    return start


def _directory_entry(entries: list[_Entry], entry: _Entry) -> bytes:
    """Return an entry of the directory. Siblings form a list along their right links, which is a valid tree."""
    position = entries.index(entry)
    parent = next((each for each in entries if position in each.children), None)
    siblings = parent.children if parent else []
    index = siblings.index(position) if parent else 0
    right = siblings[index + 1] if index + 1 < len(siblings) else _FREE
    child = entry.children[0] if entry.children else _FREE
    name = entry.name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII36xIQ", name, len(name) + 2, entry.kind, 1, _FREE, right, child, entry.start, entry.size
    )


def msg_bytes(
    *,
    subject: str,
    body: str,
    sender: str = "Ann <ann@example.com>",
    to: str = "Bob <bob@example.com>",
    attachments: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a message as Outlook saves it."""
    headers = f"From: {sender}\r\nTo: {to}\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\n"
    properties = {0x0037: subject, 0x1000: body, 0x001A: "IPM.Note", 0x007D: headers}
    content: dict[str, object] = _properties(
        properties, {}, header=struct.pack("<8x4I8x", 0, 0, 0, len(attachments or {}))
    )
    for number, (name, data) in enumerate((attachments or {}).items()):
        content[f"__attach_version1.0_#{number:08X}"] = _properties({0x3707: name}, {0x3701: data}, header=bytes(8))
    return ole_bytes(content)


def _properties(texts: Mapping[int, str], binaries: Mapping[int, bytes], *, header: bytes) -> dict[str, object]:
    # PR_STORE_SUPPORT_MASK declares that strings are Unicode.
    table = header + struct.pack("<HHIII", 0x0003, 0x340D, 6, 0x00040000, 0)
    streams: dict[str, object] = {}
    for tag, text in texts.items():
        data = text.encode("utf-16-le")
        table += struct.pack("<HHIII", 0x001F, tag, 6, len(data) + 2, 0)
        streams[f"__substg1.0_{tag:04X}001F"] = data
    for tag, data in binaries.items():
        table += struct.pack("<HHIII", 0x0102, tag, 6, len(data), 0)
        streams[f"__substg1.0_{tag:04X}0102"] = data
    return {"__properties_version1.0": table, **streams}
