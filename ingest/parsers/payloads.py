"""Files that are written as letters within a text, such as pictures in base64. They are left out and recorded."""

from __future__ import annotations

import re
from dataclasses import replace

from ingest.parsed_document import Element, ParsedDocument

#: The property that names what was left out.
PROPERTY = "payloads_left_out"
_MAX_NAMED = 10
#: The fewest characters of a payload; a shorter run may be a key or a name that somebody looks for.
_MIN_CHARACTERS = 200
#: The fewest characters in a line of base64 that is not the last one.
_MIN_LINE = 56
_LETTERS = r"A-Za-z0-9+/_\-"
_LINE_END = r"(?:\r?\n[ \t>]*| )"
_DATA_URI = r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.=+-]+)*;base64,"
#: A data URI, lines of base64, a long run of base64, or lines of uuencode.
_PAYLOAD = re.compile(
    rf"{_DATA_URI}(?P<data>[{_LETTERS}=]*+(?:\s*+[{_LETTERS}]{{40,}}+=*)*+)"
    rf"|(?P<lines>(?<![{_LETTERS}])[{_LETTERS}]{{{_MIN_LINE},}}+(?:{_LINE_END}[{_LETTERS}]{{{_MIN_LINE},}}+)+(?:{_LINE_END}(?!-----)[{_LETTERS}]+=*)?)"
    rf"|(?P<run>[{_LETTERS}]{{{_MIN_CHARACTERS},}}+={{0,2}})"
    r"|(?P<uu>^begin [0-7]{3,4} [^\n]{1,200}\n(?:[ -`]{1,130}[ \t]*\n)+`?[ \t]*\n?end\b)",
    re.M,
)
_ATTRIBUTE = re.compile(rf"=\s*[\"']?{_DATA_URI}[{_LETTERS}%=\s]*+")
_SAMPLE_CHARACTERS = 2000


def without_payloads(document: ParsedDocument) -> ParsedDocument:
    """Return a document without payloads; its property `payloads_left_out` counts and names them."""
    # Cheap to tell for almost every text: a payload has long words, or says what it is.
    text = document.text
    if ";base64," not in text and "begin " not in text and max(map(len, text.split()), default=0) < _MIN_LINE:
        return document
    found = [match for match in _PAYLOAD.finditer(document.text) if _is_payload(match)]
    if not found:
        return document
    cuts = [match.span() for match in found]
    names = [f"{_kind(match)}, {end - start} characters" for match, (start, end) in zip(found, cuts, strict=True)]
    return replace(_without(document, cuts), metadata={**document.metadata, PROPERTY: _listed(names)})


def payloads_in_markup(page: str) -> dict[str, str]:
    """Return the property that names the pictures in the attributes of a page, or nothing if there are none."""
    found = _ATTRIBUTE.finditer(page) if ";base64," in page else ()
    names = [f"{match['type'] or 'base64'}, {len(match[0])} characters" for match in found]
    return {PROPERTY: _listed(names)} if names else {}


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - _MAX_NAMED} more"] if len(names) > _MAX_NAMED else []
    return f"{len(names)}: {'; '.join([*names[:_MAX_NAMED], *more])}"


def _kind(match: re.Match[str]) -> str:
    if match["uu"]:
        return match["uu"].partition("\n")[0].split(" ", 2)[2]
    return match["type"] or "base64"


def _is_payload(match: re.Match[str]) -> bool:
    """Return whether letters are those of a file: both cases and digits, in about the shares of random bytes."""
    if match["data"] is not None:
        return len(match["data"]) >= _MIN_CHARACTERS
    if match["uu"]:
        return True
    text = match[0]
    if len(text) < _MIN_CHARACTERS:
        return False
    sample = text[:_SAMPLE_CHARACTERS]
    letters = sum(map(str.isalpha, sample))
    upper, digits = sum(map(str.isupper, sample)), sum(map(str.isdigit, sample))
    return len(set(sample)) > 30 and upper > 0.15 * letters and upper < 0.85 * letters and digits > 0.02 * len(sample)


def _without(document: ParsedDocument, cuts: list[tuple[int, int]]) -> ParsedDocument:
    """Cut spans out of a text, and move the elements to their new positions."""
    pieces: list[str] = []
    end = 0
    for first, last in cuts:
        pieces.append(document.text[end:first])
        end = last
    text = "".join([*pieces, document.text[end:]])
    elements: list[Element] = []
    number = 0
    before = 0

    def moved(position: int) -> int:
        """Return the new position. Positions are asked for in ascending order."""
        nonlocal number, before
        while number < len(cuts) and cuts[number][1] <= position:
            before += cuts[number][1] - cuts[number][0]
            number += 1
        inside = position - cuts[number][0] if number < len(cuts) else 0
        return position - before - max(inside, 0)

    for element in document.elements:
        start, stop = moved(element.start), moved(element.end)
        body = text[start:stop]
        left = start + len(body) - len(body.lstrip("\n" if element.kind.is_line_based else None))
        kept = text[left:stop].rstrip()
        if kept.strip():
            elements.append(replace(element, text=kept, start=left, end=left + len(kept)))
    return replace(document, text=text, elements=tuple(elements))
