"""RTF fields, and the text of those that have no stored result."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ingest.parsers.rtf.story import TextSink

#: The switches of an EQ field, which positions characters, for example a phonetic reading above its word.
_SWITCH = re.compile(r"\\\*\s*(?:\"[^\"]*\"|\w+)|\\[a-z]+\s?-?\d*", re.I)
_BETWEEN_WORDS = re.compile(r"[(),;\s]+")
#: The value of a form field in which nothing was chosen.
_NO_CHOICE = 25
TEXT_FIELD, CHECKBOX, DROPDOWN = range(3)


@dataclass(slots=True)
class Field:
    """A field whose result goes to `target`. `written_before` is the value of `target.written` at the field's start."""

    target: TextSink
    written_before: int
    kind: int = TEXT_FIELD
    instruction: str = ""
    default: str = ""
    options: list[str] = field(default_factory=list)
    chosen: int = _NO_CHOICE
    default_choice: int = 0

    def finish(self) -> None:
        """Write the default text if the field has no result."""
        if self.target.written == self.written_before:
            self.target.add(self._default_text())

    def _default_text(self) -> str:
        chosen = self.default_choice if self.chosen == _NO_CHOICE else self.chosen
        if self.kind == CHECKBOX:
            return "☒" if chosen else "☐"
        if self.kind == DROPDOWN:
            return self.options[chosen] if 0 <= chosen < len(self.options) else ""
        name, _, rest = self.instruction.partition(" ")
        if name.upper() == "EQ":
            return _BETWEEN_WORDS.sub(" ", _SWITCH.sub(" ", rest)).strip()
        if name.upper() == "MACROBUTTON":
            return rest.strip().partition(" ")[2]
        return self.default
