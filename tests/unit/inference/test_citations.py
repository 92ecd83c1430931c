"""Markers in an answer: added, checked, moved to the ends of sentences, and independent of how the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.text.citations import Citer
from inference.text.overlap import support, terms_of

SOURCES = [
    "The warranty of the Aurora coffee machine lasts four years and covers the pump and the motor.",
    "Returns are accepted within 60 days of purchase. Shipping back is free.",
    "保修期为四年，涵盖水泵和电机。",
]


def cited(text: str, sources: list[str] | None = None) -> str:
    citer = Citer(SOURCES if sources is None else sources)
    return citer.push(text) + citer.finish()


@pytest.mark.parametrize(
    ("text", "result"),
    [
        # The model wrote no marker: one is added.
        ("The warranty lasts four years.", "The warranty lasts four years. [1]"),
        ("The warranty lasts 4 years", "The warranty lasts 4 years [1]"),
        (
            "The warranty lasts four years. Returns are accepted within sixty days!",
            "The warranty lasts four years. [1] Returns are accepted within sixty days! [2]",
        ),
        ("- covers the pump\n- shipping is free\n", "- covers the pump [1]\n- shipping is free [2]\n"),
        ("保修期为四年。涵盖水泵和电机。", "保修期为四年。 [3]涵盖水泵和电机。 [3]"),
        # The model's marker holds: it is kept, at the end of the sentence.
        ("The warranty lasts four years [1].", "The warranty lasts four years. [1]"),
        ("The warranty lasts four years. [1] It is good.", "The warranty lasts four years. [1] It is good."),
        ("The warranty [1] lasts four years.", "The warranty lasts four years. [1]"),
        ("The pump warranty costs nothing at all [1].", "The pump warranty costs nothing at all. [1]"),
        ("Shipping is free and the pump is covered [2, 1].", "Shipping is free and the pump is covered. [1][2]"),
        ("Shipping is free and the pump is covered [2] [1].", "Shipping is free and the pump is covered. [1][2]"),
        # The model's marker does not hold: it is dropped.
        ("The warranty lasts four years [2].", "The warranty lasts four years. [1]"),
        ("The warranty lasts four years [7].", "The warranty lasts four years. [1]"),
        ("Whales sing at night [1].", "Whales sing at night."),
        ("The warranty lasts five years [1].", "The warranty lasts five years."),
        ("The warranty of the pump lasts 40 years.", "The warranty of the pump lasts 40 years."),
        # There is nothing to cite.
        ("Sure! Here it is:\nHello.", "Sure! Here it is:\nHello."),
        ("Does the warranty last four years?", "Does the warranty last four years?"),
        ("# Warranty of the pump\n", "# Warranty of the pump\n"),
        ("", ""),
        # Brackets that are not markers, and full stops that do not end a sentence.
        ("Costs [a] and [12 or so and list[0] of x[12] [", "Costs [a] and [12 or so and list of x ["),
        ("```\nwarranty[1] lasts four. Years\n```\n", "```\nwarranty[1] lasts four. Years\n```\n"),
        ("Call `warranty[1]` to see.", "Call `warranty[1]` to see."),
        (
            "1. The warranty (e.g. of the pump) lasts four years.",
            "1. The warranty (e.g. of the pump) lasts four years. [1]",
        ),
    ],
)
def test_markers_say_what_the_sources_say(text: str, result: str) -> None:
    assert cited(text) == result


def test_without_sources_all_markers_are_removed() -> None:
    assert cited("The warranty [1] lasts four years [2]. Really.", []) == "The warranty lasts four years. Really."


PIECES = st.lists(
    st.sampled_from(
        ["The warranty lasts four years", ".", " ", "[1]", "[", "]", "1", "2", ",", "\n", "`", "```", "# ", "!", "。",
         "Returns are accepted", "60 days", '"', ")", "?", "e.g. "]
    ),
    max_size=25,
)  # fmt: skip


@given(PIECES, st.integers(1, 5))
def test_the_result_does_not_depend_on_the_pieces(pieces: list[str], size: int) -> None:
    text = "".join(pieces)
    whole = cited(text)
    citer = Citer(SOURCES)
    parts = [citer.push(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(parts) + citer.finish() == whole


@given(PIECES, st.integers(0, 200))
def test_a_second_attempt_emits_only_the_rest(pieces: list[str], sent: int) -> None:
    text = "".join(pieces)
    whole = cited(text)
    sent = min(sent, len(whole))
    citer = Citer(SOURCES, replayed_characters=sent)
    assert citer.push(text) + citer.finish() == whole[sent:]


def test_text_is_emitted_at_once() -> None:
    citer = Citer(SOURCES)
    assert [citer.push(piece) for piece in ("The", " warranty", " lasts four years", ".", " Next")] == [
        "The", " warranty", " lasts four years", ".", " [1] Next"]  # fmt: skip


def test_words_are_compared_without_their_endings() -> None:
    assert terms_of("The pumps covered, thirty-two") == {"pump", "cover", "30", "2"}
    assert support("It covers pumps", "covered is the pump") == 1.0
    assert support("of the", "of the") == 0.0
    assert support("version 3.5", "version 3") == 0.0


@pytest.mark.parametrize(
    "words",
    ["ship ships shipped shipping", "generate generated generation", "study studies studying", "use used using"],
)
def test_forms_of_a_word_are_one_term(words: str) -> None:
    assert len(terms_of(words)) == 1


@pytest.mark.parametrize("words", ["news new", "city cite", "hop hope", "university universe"])
def test_words_that_look_alike_are_several_terms(words: str) -> None:
    assert len(terms_of(words)) == 2
