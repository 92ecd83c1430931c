"""Questions with several parts."""

from __future__ import annotations

import pytest

from inference.text.question_parts import LONGEST_QUESTION, parts_of


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        (
            "What is the fee of the library and who approves travel expenses?",
            ["What is the fee of the library", "who approves travel expenses?"],
        ),
        (
            "Which fuse does the BX-300 need, and how loud is it?",
            ["Which fuse does the BX-300 need", "how loud is it? BX-300"],
        ),
        ("Where is the key? When does the canteen open?", ["Where is the key?", "When does the canteen open?"]),
        (
            "I have just moved to Leeds. Where do I park, and to whom do I give the form?",
            ["Where do I park", "to whom do I give the form?"],
        ),
        (
            "Wie hoch ist die Miete und wann ist sie fällig?",
            ["Wie hoch ist die Miete", "wann ist sie fällig?"],
        ),
        ("What do cats and dogs eat?", ["What do cats and dogs eat?"]),
        ("What does it cost, and why?", ["What does it cost, and why?"]),
        ("Which devices are loud and are sold in Oslo?", ["Which devices are loud and are sold in Oslo?"]),
        ("What does it cost and is it loud?", ["What does it cost", "is it loud?"]),
        ("Pumps and their fuses", ["Pumps and their fuses"]),
        ("", [""]),
    ],
)
def test_a_question_is_divided_into_its_questions(question: str, parts: list[str]) -> None:
    assert parts_of(question) == parts


def test_long_texts_and_many_parts_are_not_divided() -> None:
    long = "What is it? " * LONGEST_QUESTION
    many = " ".join(f"What is number {n}?" for n in range(10))
    assert parts_of(long) == [long] and parts_of(many) == [many]
