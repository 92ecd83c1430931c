"""Says in terms of the client's schema why a grammar cannot be compiled."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llguidance import LLMatcher


class GrammarError(Exception):
    """A grammar cannot be compiled. `reason` says why, on one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def is_contradiction(self) -> bool:
        """Whether the schema contradicts itself, so that nothing fits it."""
        return "nsatisfiable" in self.reason


#: The position in the compiler's grammar, which means nothing to the client.
_POSITION = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
#: Advice for the caller of the compiler, which the client cannot follow.
_ADVICE = re.compile(r"constraints are not supported\. Enable 'coerce_one_of'.*", re.DOTALL)
#: Beginnings of messages that do not name the keyword they refer to, with that keyword.
_KEYWORDS = (
    ("regex parse error", "pattern"),
    ("patternProperty", "patternProperties"),
    ("Pointer", "$ref"),
    ("Unknown format", "format"),
    ("Invalid type", "type"),
)
_QUOTATION = re.compile(r"\n[ \t]*+\d++ \| .*", re.DOTALL)


def check_compiled(matcher: LLMatcher) -> None:
    """Check that a grammar compiled, and that it allows a first token: a `$ref` to itself compiles but allows none.

    Raises:
        GrammarError: if it did not.
    """
    if matcher.is_error():
        raise GrammarError(_reason(matcher.get_error()))
    beginning = matcher.deep_copy()
    if not any(beginning.compute_bitmask()) or beginning.is_error():
        raise GrammarError("no text fits it.")


def warning_of(warnings: Sequence[str]) -> str:
    """Return on one line what a schema says that its grammar does not enforce."""
    return _reason("; ".join(warnings))


def _reason(error: str) -> str:
    reason = _QUOTATION.sub("", _POSITION.sub("", error.strip()))
    reason = _ADVICE.sub("of schemas that may overlap cannot be told apart", reason)
    for said, keyword in _KEYWORDS:
        if reason.startswith(said):
            reason = f"{keyword}: {reason}"
    return " ".join(reason.split())[:500] or "it is not a schema"
