"""Lists of objects in JSON, as records: one line for each, also where the list is a few levels deep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.records.chats import Chats, are_messages
from ingest.parsers.records.json_values import JsonObject, record_line

#: A list deeper than this belongs to a value, not to the file.
_MAX_DEPTH = 3
#: The lists of a file are its records if they have at least this share of its values.
_MIN_SHARE = 0.5
_MIN_RECORDS = 2


@dataclass(frozen=True, slots=True)
class _List:
    #: The keys above it, joined by dots; empty if the file is the list.
    path: str
    items: list[JsonObject]


def add_record_lists(builder: DocumentBuilder, content: Any) -> bool:
    """Append the records of a decoded JSON file, and return whether it has any. Otherwise nothing is appended.

    A chat becomes a section, with one message per line. Other lists of objects get one line per object. What is beside
    the lists is a line above them.
    """
    chats = Chats(content)
    if isinstance(content, JsonObject) and chats.is_chat(content):
        chats.add_chat(builder, content, level=0)
        return True
    lists = _record_lists(content)
    if not lists:
        return False
    inside = {id(found.items) for found in lists}
    rest = record_line(_without(content, inside)) if isinstance(content, JsonObject) else ""
    builder.add(ElementKind.TABLE, rest)
    for found in lists:
        builder.add(ElementKind.HEADING, found.path)
        if not chats.add_messages(builder, found.items):
            _add_list(builder, found, chats)
    return True


def is_chat(value: Any) -> bool:
    """Return whether a decoded value is a message of a chat, or a chat."""
    return isinstance(value, JsonObject) and (are_messages([value]) or Chats([]).is_chat(value))


def _add_list(builder: DocumentBuilder, found: _List, chats: Chats) -> None:
    if all(map(chats.is_chat, found.items)):
        for item in found.items:
            chats.add_chat(builder, item, level=1)
    else:
        builder.add(ElementKind.TABLE, "\n".join(filter(None, map(record_line, found.items))))


def _record_lists(content: Any) -> list[_List]:
    lists = list(_find_lists("", content, 0))
    if isinstance(content, JsonObject):
        lists = [found for found in lists if len(found.items) >= _MIN_RECORDS]
        if sum(_count_values(found.items) for found in lists) < _MIN_SHARE * _count_values(content):
            return []
    return lists


def _find_lists(path: str, value: Any, depth: int) -> Iterator[_List]:
    if isinstance(value, JsonObject):
        if depth < _MAX_DEPTH:
            for key, inner in value:
                yield from _find_lists(f"{path}.{key}" if path else key, inner, depth + 1)
    elif isinstance(value, list) and value and all(isinstance(item, JsonObject) for item in value):
        yield _List(path, value)


def _count_values(value: Any) -> int:
    """Return the number of strings, numbers and other single values. It is recursive, as the decoder of JSON is."""
    if isinstance(value, JsonObject):
        return sum(_count_values(inner) for _, inner in value)
    return sum(map(_count_values, value)) if isinstance(value, list) else 1


def _without(value: Any, lists: set[int]) -> Any:
    """Return an object without these lists of records."""
    if not isinstance(value, JsonObject):
        return value
    return JsonObject((key, _without(inner, lists)) for key, inner in value if id(inner) not in lists)
