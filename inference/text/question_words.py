"""The words of a question, and which of them are names. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from inference.text.overlap import terms_of

#: The word after "which" or "what" is what the answer is a kind of ("which stone": granite), which sources often omit.
KIND_WEIGHT = 0.5
#: Numbers, and words with what hyphens, slashes and dots join to them, such as `BX-300`.
_WORD = re.compile(r"\d+(?:[.,]\d+)*(?![^\W_])|[^\W_]+(?:[-/.][^\W_]+)*")
_DIGIT = re.compile(r"\d")
_KIND = re.compile(r"\b(?:which|what)\s+([^\W\d_]+)", re.IGNORECASE)
_ENGLISH = frozenset("the of is are does what which who how where did".split())  # noqa: SIM905


@dataclass(frozen=True)
class QuestionWord:
    """A word of a question.

    Attributes:
        is_name: whether it has a digit or, in an English question, is a name.
        weight: how much of what is asked for it says.
    """

    text: str
    terms: frozenset[str]
    is_name: bool
    weight: float


def question_words(question: str) -> list[QuestionWord]:
    """Return the words of a question, in their order."""
    found = list(_WORD.finditer(question))
    is_english = bool(_ENGLISH & {word.group().lower() for word in found})
    kinds = {match[1] for match in _KIND.finditer(question)}
    return [
        QuestionWord(
            word.group(),
            terms_of(word.group()),
            bool(_DIGIT.search(word.group())) or (is_english and at > 0 and word.group()[0].isupper()),
            KIND_WEIGHT if word.group() in kinds else 1.0,
        )
        for at, word in enumerate(found)
    ]
