"""Patterns of `.gitignore` whose matching time does not explode, whatever the pattern and the path."""

from __future__ import annotations

import re

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

#: How `pathspec` writes `*` within a name, and `**/` at the beginning and `/**` within a pattern.
_STAR = "[^/]*"
_ANY_FOLDERS_FIRST = "^(?:.+/)?"
_ANY_FOLDERS = "(?:/.+)?"
#: A star, and the part of the name up to the next star: escaped characters, sets of characters, and plain characters.
_STAR_BEFORE_STAR = re.compile(r"\[\^/\]\*((?:\\.|\[\^?\]?[^\]]*\](?!\*)|[^/*()\[\]\\])*+)(?=\[\^/\]\*)", re.DOTALL)


class LinearPattern(GitIgnoreSpecPattern):
    """A pattern of `.gitignore`, as a regular expression that does not try all ways to divide a path among wildcards.

    What stands between two wildcards is taken where it first occurs, and no other occurrence is tried: if the rest of
    the pattern matches after a later occurrence, it also matches after the first.
    """

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: str) -> tuple[str | None, bool | None]:  # type: ignore[override]
        """Return the regular expression of a pattern (None: it matches nothing), and whether it ignores or includes."""
        regex, include = super().pattern_to_regex(pattern)
        # `pathspec` has short forms, without a beginning, for patterns that match everything or every folder.
        return _without_backtracking(regex) if regex is not None and regex.startswith("^") else regex, include


def _without_backtracking(regex: str) -> str:
    regex = _STAR_BEFORE_STAR.sub(lambda found: f"(?>[^/]*?{found[1]})", regex)
    is_anchored = not regex.startswith(_ANY_FOLDERS_FIRST)
    first, *blocks = regex.removeprefix("^" if is_anchored else _ANY_FOLDERS_FIRST).split(_ANY_FOLDERS)
    steps = ["" if is_anchored else "(?:[^/]+/)*?", *("(?:/[^/]+)*?" for _ in blocks)]
    *inner, last = (step + block for step, block in zip(steps, [first, *blocks], strict=True))
    return "^" + "".join(f"(?>{part}(?=/))" for part in inner) + last
