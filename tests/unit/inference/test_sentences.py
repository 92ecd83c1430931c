"""The sentences of a text that are about a question."""

from __future__ import annotations

from inference.text.sentences import LONGEST_SENTENCE, best_sentences, sentences_of


def test_sentences_end_at_full_stops_and_paragraphs() -> None:
    text = 'It costs 3.5 euros. "Really?" Yes!\n\n# Care\n\nWipe it\nonce a week. 水を飲む。茶を飲む。'
    assert sentences_of(text) == [
        "It costs 3.5 euros.",
        '"Really?"',
        "Yes!",
        "# Care",
        "Wipe it once a week.",
        "水を飲む。",
        "茶を飲む。",
    ]


def test_lines_of_a_long_list_are_sentences_of_their_own() -> None:
    rows = [f"row {number}: {'x' * 40}" for number in range(20)]
    assert sentences_of("\n".join(rows)) == rows
    assert [len(sentence) for sentence in sentences_of("x" * 1000)] == [LONGEST_SENTENCE]


def test_the_sentences_that_share_rare_words_with_the_question_are_best() -> None:
    text = (
        "# Warranty of the pump\n\nThe pump is red. The pump is heavy. The pump has a warranty of 4 years. "
        "Call us about the pump."
    )
    assert best_sentences(text, "How long is the warranty of the pump?", 1) == ["The pump has a warranty of 4 years."]
    assert len(best_sentences(text, "How long is the warranty of the pump?", 2)) == 2
    assert best_sentences(text, "Who sings at night?", 2) == []
