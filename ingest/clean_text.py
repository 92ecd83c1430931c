"""Removes from text what nobody sees: control characters, terminal sequences and invisible characters in words."""

from __future__ import annotations

import re

from ingest.terminal_text import shown_text

#: Control characters that divide lines or words: vertical tab, form feed, next line, the separators of files, groups,
#: records and units, and of lines and paragraphs.
_SEPARATOR_CHARACTERS = {
    **dict.fromkeys((0x0B, 0x0C, 0x85, 0x2028, 0x2029), "\n"),
    **dict.fromkeys(range(0x1C, 0x20), " "),
}
_LINE_ENDS = re.compile(r"\r+\n|\r")
_SEPARATORS = re.compile("[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
#: Control characters and lone surrogates: JSON, SQL or UTF-8 do not allow all of them. Soft hyphens, with the line end
#: at which a word was divided, zero-width spaces, word joiners, invisible operators and tags. Joiners stay where a
#: script or an emoji needs them; marks of direction stay.
_UNSEEN = re.compile(
    "\u00ad(?:[ \\t]*\n[ \\t]*(?=[^\\W\\d_]))?|(?<=[\x00-\u058f\u2010-\u2027])[\u200c\u200d]"
    "|[\ufeff\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u034f\u180e\u200b\u2060-\u2064\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
#: All characters that matter here, in one set, which is quick to search for: most texts have none of them.
_CANDIDATES = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u180e\u200b-\u200d\u2028\u2029\u2060-\u2064\ufeff\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_ASCII_CANDIDATES = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def clean_text(text: str) -> str:
    """Return the text with `\\n` line ends and without characters that nobody sees.

    Control characters that divide lines or words become line breaks or spaces.
    """
    candidates = _ASCII_CANDIDATES if text.isascii() else _CANDIDATES
    if not candidates.search(text):
        return text
    text = shown_text(text)
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    if _SEPARATORS.search(text):
        text = text.translate(_SEPARATOR_CHARACTERS)
    return _UNSEEN.sub("", text)
