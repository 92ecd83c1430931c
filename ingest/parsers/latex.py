"""LaTeX and BibTeX: the source without its comments, with letters in place of commands for accents, and headings.

It is read here because pandoc drops the text of commands and environments that it does not know.
"""

from __future__ import annotations

import re
import unicodedata

from ingest.parsed_document import ElementKind, ParsedDocument, SpanBuilder
from ingest.parsers.line_ends import unwrap
from ingest.parsers.raised import lowered, raised, struck_out
from ingest.parsers.source import SourceFile
from ingest.parsers.text import BLANK_LINES

_ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307",
    '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323", "c": "\u0327", "k": "\u0328",
    "b": "\u0331",
}  # fmt: skip
_LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "aa": "å",
    "AA": "Å", "i": "ı", "j": "ȷ", "th": "þ", "TH": "Þ", "dh": "ð", "DH": "Ð", "dj": "đ", "DJ": "Đ", "ng": "ŋ",
    "S": "§", "P": "¶", "pounds": "£", "euro": "€", "copyright": "©", "dots": "…", "ldots": "…", "textdegree": "°",
    "degree": "°", "textendash": "–", "textemdash": "—", "textasciitilde": "~", "textbackslash": "\\",
}  # fmt: skip
#: An accent over a letter, in any of its forms: `\"u`, `\"{u}`, `{\"u}`, `\v{s}`, `\'{\i}`.
_ACCENT = re.compile(
    r"\\(?:([`'^\"~=.])\s*|([uvHcdbkr])(?:\s*(?=\{)|\s+(?=\w)))"
    r"(?:\{\s*\\?([A-Za-z])\s*\}|\\([ij])(?![A-Za-z])\s?|([A-Za-z]))"
)
_BRACED = re.compile(r"\{(\\(?:[`'^\"~=.]|[uvHcdbkr][ {])[^{}\\]{0,4}(?:\{[^{}]{1,4}\})?[^{}\\]{0,2})\}")
_LETTER = re.compile(r"\{?\\(" + "|".join(sorted(_LETTERS, key=len, reverse=True)) + r")(?![A-Za-z])(?:\{\}|\}|\s)?")
#: Verbatim text, in which `%` is a character, or a comment with the line end and the indentation that it hides.
_COMMENT = re.compile(
    r"(?P<kept>\\begin\{(?P<name>verbatim\*?|lstlisting|minted|Verbatim)\}"
    r"(?:[^\\]|\\(?!(?:begin|end)\{(?P=name)\}))*+\\end\{(?P=name)\}"
    r"|\\verb\*?(?P<sign>[^\sA-Za-z*])[^\n]*?(?P=sign)|\\(?:url|href|path)\{[^{}\n]*\}|\\[\\%])"
    r"|\\begin\{comment\}.*?(?:\\end\{comment\}|\Z)"
    r"|(?P<line>^[ \t]*%[^\n]*\n?)|[ \t]*%[^\n]*(?:\n[ \t]*(?=\S))?",
    re.M | re.S,
)
_CONDITION = re.compile(r"\\(if(?!f\b|thenelse\b)[A-Za-z@]*|else|fi)\b")
_END = re.compile(r"\\end\{document\}")
_STRUCK = re.compile(r"\\(?:sout|st|xout|cancel)\{([^{}]*)\}")
_SHIFTED = re.compile(r"(\S?)\\text(super|sub)script\{([^{}]*)\}")
_SIGN = re.compile(r"\\([%&$#_{}])")
_SPACE = re.compile(r"(?<!\\)~|\\[,;:!>]|\\ ")
_HEADING = re.compile(
    r"^[ \t]*\\(part|chapter|section|subsection|subsubsection|paragraph|title)\*?(?:\[[^\]\n]*\])?"
    r"\{((?:[^{}\n]|\n(?!\n)|\{[^{}\n]*\}){1,400})\}",
    re.M,
)
_LEVELS = {"title": 0, "part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6}
_COMMAND = re.compile(r"\\[A-Za-z]+\*?\s?|[{}$]")


def parse(source: SourceFile) -> ParsedDocument:
    """Mark headings and paragraphs of a source without comments. Its other commands stay."""
    text = source.read_text()
    if source.filename.lower().endswith(".bib"):
        text = with_letters(text)
    else:
        text = unwrap(_typeset(with_letters(without_comments(text))))
    builder = SpanBuilder(text)
    end = 0
    for heading in _HEADING.finditer(text):
        _add_paragraphs(builder, text, end, heading.start())
        title = " ".join(_COMMAND.sub("", heading[2]).split())
        builder.add(ElementKind.HEADING, heading.start(), heading.end(), level=_LEVELS[heading[1]], title=title)
        end = heading.end()
    _add_paragraphs(builder, text, end, len(text))
    return builder.build(source.media_type)


def without_comments(text: str) -> str:
    """Return LaTeX without comments, parts that are switched off by `\\iffalse`, and what follows the document."""
    text = _COMMENT.sub(lambda match: match[0] if match["kept"] else "", text)
    if "\\iffalse" in text:
        text = _without_false_conditions(text)
    end = _END.search(text)
    return text[: end.end()] + "\n" if end else text


def _without_false_conditions(text: str) -> str:
    pieces: list[str] = []
    position = depth = 0
    for mark in _CONDITION.finditer(text):
        if depth == 0 and mark[1] == "iffalse":
            pieces.append(text[position : mark.start()])
            depth = 1
        elif depth:
            depth += (
                1 if mark[1].startswith("if") else -1 if mark[1] == "fi" or (mark[1] == "else" and depth == 1) else 0
            )
            if not depth:
                position = mark.end()
    return "".join(pieces) if depth else "".join([*pieces, text[position:]])


def with_letters(text: str) -> str:
    """Return text with the letters that commands for accents and special letters stand for."""
    if "\\" not in text:
        return text
    return _LETTER.sub(lambda match: _LETTERS[match[1]], _ACCENT.sub(_accented, _BRACED.sub(r"\1", text)))


def _accented(match: re.Match[str]) -> str:
    letter = match[3] or match[4] or match[5]
    written = unicodedata.normalize("NFC", letter + _ACCENTS[match[1] or match[2]])
    return written if len(written) == 1 else match[0]


def _typeset(text: str) -> str:
    """Return text with marks of struck-out and shifted text, signs and spaces as they are printed."""
    text = _SPACE.sub(" ", text)
    text = _STRUCK.sub(lambda match: struck_out(match[1]), text)
    text = _SHIFTED.sub(lambda match: match[1] + (raised if match[2] == "super" else lowered)(match[3], match[1]), text)
    return _SIGN.sub(r"\1", text)


def _add_paragraphs(builder: SpanBuilder, text: str, start: int, end: int) -> None:
    for gap in BLANK_LINES.finditer(text, start, end):
        builder.add(ElementKind.PARAGRAPH, start, gap.start())
        start = gap.end()
    builder.add(ElementKind.PARAGRAPH, start, end)
