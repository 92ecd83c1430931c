"""Calls whose arguments are emitted while the model writes them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.jobs.runner import ChoiceResult


@dataclass
class OpenCall:
    """Call `number` of the client, of which the first `sent` characters of the arguments have been emitted.

    The arguments are one JSON object. What follows it is not part of them.
    """

    number: int
    sent: int = 0
    has_ended: bool = False
    _depth: int = 0
    _in_string: bool = False
    _is_escaped: bool = False

    def take(self, written: str) -> str:
        """Return the new part of the arguments in a text that begins with them."""
        if self.has_ended:
            return ""
        at = self.sent
        for character in written[self.sent :]:
            at += 1
            self._read(character)
            if self.has_ended:
                break
        piece, self.sent = written[self.sent : at], at
        return piece

    def _read(self, character: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif self._in_string:
            self._is_escaped = character == "\\"
            self._in_string = character != '"'
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            self.has_ended = self._depth == 0


def left_open(result: ChoiceResult) -> OpenCall | None:
    """Return the client's last call of an interrupted attempt, if its arguments are incomplete."""
    if not result.tool_calls:
        return None
    call = OpenCall(len(result.tool_calls) - 1)
    call.take(result.tool_calls[-1]["function"]["arguments"])
    return None if call.has_ended else call
