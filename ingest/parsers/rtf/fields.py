"""Fields of rich text: what they show where no result of theirs is written down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ingest.parsers.rtf.story import Target

#: Switches of a field that places characters above each other, for their reading for example.
_SWITCH = re.compile(r"\\\*\s*(?:\"[^\"]*\"|\w+)|\\[a-z]+\s?-?\d*", re.I)
_BETWEEN_WORDS = re.compile(r"[(),;\s]+")
#: The number of a choice that nobody has made.
_NO_CHOICE = 25
TEXT_FIELD, CHECKBOX, CHOICE = range(3)


@dataclass(slots=True)
class Field:
    """A field whose result goes to `target`; `written_before` is what that had got before."""

    target: Target
    written_before: int
    kind: int = TEXT_FIELD
    instruction: str = ""
    default: str = ""
    options: list[str] = field(default_factory=list)
    chosen: int = _NO_CHOICE
    chosen_at_first: int = 0

    def finish(self) -> None:
        """Shows what it shows without a result, if it has none."""
        if self.target.written == self.written_before:
            self.target.add(self._shown())

    def _shown(self) -> str:
        chosen = self.chosen_at_first if self.chosen == _NO_CHOICE else self.chosen
        if self.kind == CHECKBOX:
            return "☒" if chosen else "☐"
        if self.kind == CHOICE:
            return self.options[chosen] if 0 <= chosen < len(self.options) else ""
        name, _, rest = self.instruction.partition(" ")
        if name.upper() == "EQ":
            return _BETWEEN_WORDS.sub(" ", _SWITCH.sub(" ", rest)).strip()
        if name.upper() == "MACROBUTTON":
            return rest.strip().partition(" ")[2]
        return self.default
