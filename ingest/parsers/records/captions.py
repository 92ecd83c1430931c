"""Captions of films and talks (WebVTT, SubRip, SubViewer, Advanced SubStation, TTML), read as speech.

Ours, since libraries for captions keep their cues and times, and not the sentences that run over them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lxml import etree

from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers import text as plain_text
from ingest.parsers.source import SourceFile

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*(?:-->|,)\s*{_TIME}(?=\s|\Z)", re.ASCII)
#: A line of a script in the format of Advanced SubStation: its fields are named by the line `Format:`.
_DIALOGUE = re.compile(r"Dialogue:\s*(.*)", re.I)
_SCRIPT = re.compile(r"^Dialogue:", re.M | re.I)
_FORMAT = re.compile(r"Format:\s*(.*\bText\b.*)", re.I)
_DEFAULT_FORMAT = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
_OVERRIDE = re.compile(r"\{[^}]*\}")
_DRAWING = re.compile(r"\{[^}]*\\p[1-9]")
_SPEAKER = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
#: Tags of HTML, times within a line, and overrides of positions and fonts.
_TAG = re.compile(r"</?(?:[a-z][^<>\n]*|\d[\d:.,]*)>|\{\\[^}\n]*\}", re.I)
#: Times of TTML: `00:00:01.5`, with frames `00:00:01:12`, or a number and its unit.
_CLOCK = re.compile(r"(\d{2,3}):(\d\d):(\d\d(?:\.\d{1,9})?)(?::\d+(?:\.\d+)?)?", re.ASCII)
_OFFSET = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[hms])", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
#: Elements in a paragraph of TTML with words about it.
_UNSPOKEN = frozenset(
    f"{{http://www.w3.org/ns/ttml#metadata}}{name}" for name in ("title", "desc", "name", "copyright")
)
#: A line that begins what another person says.
_DASH = re.compile(r"(?:[-–—‐]|>{2,3})\s*(?=\S)")
_SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’»)\]♪]*\Z""")
_NO_SPACE = re.compile("[\u3000-\u9fff\uff00-\uffef]")
#: A pause of this length ends a paragraph, at the end of a sentence a shorter one does.
_LONG_PAUSE_SECONDS, _PAUSE_SECONDS = 8.0, 2.0
#: A paragraph of this length ends with its sentence, and a longer one with the next line.
_FULL_CHARACTERS, _MAX_CHARACTERS = 400, 1000
#: Captions are rolling if at least this share of the cues repeat lines of the one before.
_MIN_ROLLING_SHARE = 0.3
_SIMULTANEOUS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Cue:
    start: float
    end: float
    lines: list[str]
    speaker: str = ""


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the speech in paragraphs, each with its time and, if it is named, its speaker.

    Tags, numbers and names of cues, and notes are left out. Rolling captions, which repeat the lines that stay on the
    screen, are read once.
    """
    text = source.read_text()
    cues = list(_script_cues(text) if _is_script(text) else _cues(text))
    return _speech(cues, source.media_type) or plain_text.parse(source)


def parse_timed_text(root: etree._Element, media_type: str) -> ParsedDocument | None:
    """Parse the speech in the tree of a TTML file as `parse` does, or return None if it has none."""
    name = etree.QName(root).namespace
    cues: list[_Cue] = []
    for element in root.iter(f"{{{name}}}p"):
        # A paragraph without a time of its own has that of the division around it.
        timed = next((each for each in (element, *element.iterancestors()) if each.get("begin")), element)
        start, end = (_timed_text_seconds(timed.get(key) or "") for key in ("begin", "end"))
        for line_break in element.iter(f"{{{name}}}br"):
            line_break.text = "\n"
        etree.strip_elements(element, *_UNSPOKEN, with_tail=False)
        lines = [" ".join(line.split()) for line in "".join(element.itertext()).split("\n")]
        if any(lines):
            cues.append(_Cue(start, max(start, end), [line for line in lines if line]))
    return _speech(cues, media_type)


def _timed_text_seconds(value: str) -> float:
    clock = _CLOCK.fullmatch(value)
    if clock is not None:
        # The last part may be a number of frames, which is less than a second.
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    offset = _OFFSET.fullmatch(value)
    return float(offset[1]) * _UNIT_SECONDS[offset[2]] if offset is not None else 0.0


def _speech(cues: Sequence[_Cue], media_type: str) -> ParsedDocument | None:
    builder = DocumentBuilder()
    for start, words in _paragraphs(_without_repetition(cues)):
        builder.add(ElementKind.PARAGRAPH, f"[{_clock(start)}] {words}")
    document = builder.build(media_type)
    return document if document.elements else None


def _is_script(text: str) -> bool:
    return not text.startswith("WEBVTT") and _SCRIPT.search(text) is not None


def _cues(text: str) -> Iterator[_Cue]:
    """Yield the cues of a text whose cues begin with a line of two times and end at a blank line or the next cue."""
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        times = _TIMES.match(lines[position])
        position += 1
        if times is None:
            continue
        first = position
        # A line with a space alone may be part of a rolling caption.
        while position < len(lines) and lines[position] != "" and not _TIMES.match(lines[position]):
            position += 1
        content = lines[first:position]
        if position < len(lines) and lines[position] and content and content[-1].strip().isdecimal():
            # The number of the next cue, without a blank line above it.
            content.pop()
        yield from _spoken(*_seconds(times), content)


def _script_cues(text: str) -> Iterator[_Cue]:
    names = _DEFAULT_FORMAT.split(", ")
    cues: list[_Cue] = []
    for line in text.split("\n"):
        named = _FORMAT.match(line)
        if named is not None:
            names = [name.strip() for name in named[1].split(",")]
        found = _DIALOGUE.match(line)
        if found is None:
            continue
        values = dict(zip((name.lower() for name in names), found[1].split(",", len(names) - 1), strict=False))
        times = _TIMES.match(f"{values.get('start', '')} --> {values.get('end', '')}")
        if times is None or _DRAWING.search(values.get("text", "")):
            continue
        plain = _OVERRIDE.sub("", values.get("text", "")).replace("\\h", " ")
        content = plain.replace("\\N", "\n").replace("\\n", "\n").split("\n")
        cues += _spoken(*_seconds(times), content, values.get("name", "").strip())
    # The lines of a script may be in any order.
    yield from sorted(cues, key=lambda cue: cue.start)


def _seconds(times: re.Match[str]) -> tuple[float, float]:
    hours, minutes, seconds, parts = zip(times.groups()[:4], times.groups()[4:], strict=True)
    start, end = (
        int(hour or 0) * 3600 + int(minute) * 60 + int(second) + float(f"0.{part}")
        for hour, minute, second, part in zip(hours, minutes, seconds, parts, strict=True)
    )
    return start, end


def _spoken(start: float, end: float, lines: Sequence[str], speaker: str = "") -> Iterator[_Cue]:
    """Yield what each speaker says in a cue, without tags."""
    words: list[str] = []
    for line in lines:
        pieces = _SPEAKER.split(line.replace("[br]", "\n"))
        for number, piece in enumerate(pieces):
            if number % 2:
                if words:
                    yield _Cue(start, end, words, speaker)
                words, speaker = [], " ".join(html.unescape(piece).split())
            else:
                # Character references come last, since they may stand for the signs of tags.
                plain = html.unescape(_TAG.sub("", piece))
                words += filter(None, (" ".join(part.split()) for part in plain.split("\n")))
    if words:
        yield _Cue(start, end, words, speaker)


def _without_repetition(cues: Sequence[_Cue]) -> Iterator[_Cue]:
    """Yield the cues without lines that stay on the screen from the cue before, if the captions are rolling."""
    fresh = [cues[0].lines, *map(_new_lines, cues, cues[1:])] if cues else []
    repeating = sum(lines is not cue.lines for lines, cue in zip(fresh, cues, strict=True))
    is_rolling = len(cues) > 2 and repeating >= _MIN_ROLLING_SHARE * (len(cues) - 1)
    for number, (cue, lines) in enumerate(zip(cues, fresh, strict=True)):
        before = cues[number - 1] if number else None
        is_double = before is not None and (before.start, before.lines) == (cue.start, cue.lines)
        shown = lines if is_rolling else cue.lines
        if shown and not is_double:
            yield _Cue(cue.start, cue.end, shown, cue.speaker)


def _new_lines(before: _Cue, cue: _Cue) -> list[str]:
    """Return the lines of a cue that are not the last ones of the cue before, which is on the screen until then."""
    if cue.start - before.end > _SIMULTANEOUS_SECONDS:
        return cue.lines
    longest = min(len(before.lines), len(cue.lines))
    for count in range(longest, 0, -1):
        if before.lines[-count:] == cue.lines[:count]:
            return cue.lines[count:]
    # A line that is written word by word.
    grown = f"{before.lines[-1]} "
    return [cue.lines[0].removeprefix(grown), *cue.lines[1:]] if cue.lines[0].startswith(grown) else cue.lines


def _paragraphs(cues: Iterator[_Cue]) -> Iterator[tuple[float, str]]:
    """Yield the paragraphs with the time at which they begin, in seconds."""
    start, end, speaker, words = 0.0, 0.0, "", ""
    for cue in cues:
        if words and (cue.speaker != speaker or _ends(words, cue.start - end)):
            yield start, words
            words = ""
        for line in cue.lines:
            if not words:
                start, words = cue.start, f"{cue.speaker}: {line}" if cue.speaker else line
            else:
                words += f"{_gap(words, line)}{line}"
        end, speaker = cue.end, cue.speaker
    if words:
        yield start, words


def _ends(words: str, pause_seconds: float) -> bool:
    if pause_seconds >= _LONG_PAUSE_SECONDS or len(words) >= _MAX_CHARACTERS:
        return True
    return _SENTENCE_END.search(words) is not None and (
        pause_seconds >= _PAUSE_SECONDS or len(words) >= _FULL_CHARACTERS
    )


def _gap(words: str, line: str) -> str:
    """Return what divides a line from the words before it: nothing in Chinese and Japanese."""
    if _DASH.match(line):
        return "\n"
    return "" if _NO_SPACE.match(words[-1]) and _NO_SPACE.match(line) else " "


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
