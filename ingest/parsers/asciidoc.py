"""Removes the comments of AsciiDoc. The rest is read as plain text, since no reader of it is installed."""

from __future__ import annotations

SUFFIXES = frozenset((".adoc", ".asciidoc"))
#: The signs that lines around a block consist of: of a comment, and of text in which `//` begins none.
_COMMENT, _VERBATIM = "/", "-.+"
_MIN_SIGNS = 4
_FENCE, _OPEN_BLOCK, _STYLE = "```", "--", "[comment]"


def without_comments(text: str) -> str:
    """Return the text without comment lines, comment blocks, and what `[comment]` stands above."""
    kept: list[str] = []
    #: The line at which the block ends that the current line is in.
    end = ""
    is_comment = is_styled = False
    for line in text.split("\n"):
        mark = line.rstrip()
        if end:
            end = "" if mark == end else end
            if not is_comment:
                kept.append(line)
            continue
        if is_styled and mark and mark != _OPEN_BLOCK:
            continue
        end = _end_of_block(mark, is_styled=is_styled)
        is_comment = is_styled or mark.startswith(_COMMENT)
        is_styled = mark == _STYLE
        is_line = line.startswith("//") and not line.startswith("///")
        if not is_styled and not is_line and not (end and is_comment):
            kept.append(line)
    return "\n".join(kept)


def _end_of_block(mark: str, *, is_styled: bool) -> str:
    """Return the line that ends the block which a line begins, or an empty string if it begins none."""
    if mark.startswith(_FENCE):
        return _FENCE
    if len(mark) >= _MIN_SIGNS and mark[0] in _COMMENT + _VERBATIM and not mark.strip(mark[0]):
        return mark
    return _OPEN_BLOCK if is_styled and mark == _OPEN_BLOCK else ""
