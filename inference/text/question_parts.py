"""Divides a question into the questions that it consists of, so that each can be searched for. Pure."""

from __future__ import annotations

import re

#: Longer texts are not divided: they are hardly questions.
LONGEST_QUESTION = 1000
MOST_PARTS = 4
#: A shorter part ("and why?") is not a question of its own.
LEAST_WORDS = 3
#: What a question begins with in English, German, French and Spanish.
_BEGINNING = (
    r"(?:(?:in|on|at|for|from|to|with|by|of|mit|bei|zu|von|auf)\s+)?(?:what|which|who|whom|whose|how|when|where|why"
    r"|was|welche[rsmn]?|wer|we[nm]|wessen|wie|wann|wo|warum|wieso|weshalb"
    r"|quoi|quelle?s?|qui|combien|comment|quand|où|pourquoi|que|quién|cuál|cuánt[oa]s?|cuándo|dónde|cómo)\b"
    r"|(?:is|are|was|were|does|do|did|can|may|must|should|will)\s+(?:it|they|there|the|an?|i|we|you|he|she|this)\b"
)
_JOINT = re.compile(
    r"(?:[,;]\s*(?:and|or|und|oder|sowie|et|ou|y|o)?|\s(?:and|or|und|oder|sowie|et|ou|y|o))\s+(?:also\s+)?"
    rf"(?={_BEGINNING})",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[?？])\s*|(?<=[.!。！])\s+")
_REFERENCE = re.compile(
    r"\b(?:it|its|they|them|their|he|his|him|she|her|there|this|that|these|those|one)\b", re.IGNORECASE
)
_NAME = re.compile(r"(?<!^)\b(?:[A-Z][\w-]*|[\w-]*\d[\w-]*)")


def parts_of(question: str) -> list[str]:
    """Return the questions that a question consists of, or the question alone if it cannot be divided.

    A part that refers to an earlier one ("how loud is it?") gets the names of that one.
    """
    if len(question) > LONGEST_QUESTION:
        return [question]
    sentences = [sentence for sentence in _SENTENCE_END.split(question.strip()) if sentence]
    asked = [sentence for sentence in sentences if sentence.endswith(("?", "？"))] or sentences
    pieces = [piece.strip(" ,;") for sentence in asked for piece in _JOINT.split(sentence)]
    parts = [piece for piece in pieces if len(piece.split()) >= LEAST_WORDS]
    if not 1 < len(parts) <= MOST_PARTS or len(parts) < len(pieces):
        return [question]
    return [_with_names(part, question) for part in parts]


def _with_names(part: str, question: str) -> str:
    """Return a part, with the names before it in the question if it refers to something without having a name."""
    if not _REFERENCE.search(part) or _NAME.search(part):
        return part
    names = dict.fromkeys(name.group() for name in _NAME.finditer(question[: question.find(part)]))
    return " ".join([part, *names])
