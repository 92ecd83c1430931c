"""Whether the sources of an answer hold what the question names and what the answer says."""

from __future__ import annotations

import pytest

from inference.text.grounding import grounding_of
from inference.text.sources import Source

TENT = Source(
    "talus-tent.md Guarantee of the Talus tent",
    "The Talus tent has a guarantee of six years, which covers the poles but not the groundsheet. Repairs are done in "
    "Keswick within ten days. Spare poles can be ordered for 12 euros under the number TP-338.",
)
OTHER = Source("fees.txt", "The fee of the club is 20 dollars. In 2019 Marta Weiss was 45 years old.")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How long is the guarantee of the Talus tent?", "Six years. [1]"),
        ("How many years of guarantee does the Talus tent have?", "The Talus tent has a guarantee of 6 years."),
        ("Where is the Talus tent repaired?", "In Keswick, within ten days."),
        ("What does TP-338 cost?", "12 euros"),
        ("Is the groundsheet covered?", "No."),
        ("What is the price of spare poles?", "The spare poles cost 12 euros."),
    ],
)
def test_an_answer_that_the_sources_hold_is_grounded(question: str, answer: str) -> None:
    assert grounding_of(question, answer, [TENT, OTHER]).is_grounded


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        ("How much does the Talus tent weigh?", ["weigh"]),
        ("How long is the guarantee of the Borea tent?", ["Borea"]),
        ("What does TP-339 cost?", ["TP-339"]),
        ("Which colours does the Talus tent have?", ["colours"]),
        ("What happened to Marta Weiss in 2021?", ["2021"]),
    ],
)
def test_what_no_source_has_of_the_question_is_named(question: str, missing: list[str]) -> None:
    grounding = grounding_of(question, "Six years.", [TENT, OTHER])
    assert not grounding.is_grounded and grounding.words == missing


def test_words_count_where_the_subject_of_the_question_is() -> None:
    weight = Source("boat.md", "The boat weighs 40 kg.")
    assert grounding_of("How much does the Talus tent weigh?", "40 kg", [TENT, weight]).words == ["weigh"]


def test_sentences_that_no_source_supports_are_named() -> None:
    answer = "The guarantee covers the poles. [1] It was designed by Japanese engineers. It takes 14 days. [1]"
    grounding = grounding_of("What does the guarantee of the Talus tent cover?", answer, [TENT, OTHER])
    assert grounding.sentences == ["It was designed by Japanese engineers.", "It takes 14 days."]


def test_nouns_of_other_languages_are_not_taken_for_names() -> None:
    rent = Source("miete.txt", "Die Miete der Wohnung beträgt 940 Euro.")
    assert grounding_of("Wie hoch ist die Monatsmiete der Wohnung?", "940 Euro", [rent]).words != ["Monatsmiete"]


def test_without_sources_nothing_is_grounded() -> None:
    assert not grounding_of("Who is Marta Weiss?", "A painter.", []).is_grounded
