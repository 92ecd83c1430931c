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


def test_the_best_sentence_is_the_last() -> None:
    text = "The warranty of a pump is 4 years. The pump is red. The warranty covers parts."
    assert best_sentences(text, "How long is the warranty of the pump?", 2)[-1] == "The warranty of a pump is 4 years."


def test_a_question_for_a_number_prefers_sentences_with_another_number() -> None:
    text = "The meeting room 6 has a screen. It is booked by telephone. The room has twelve seats."
    assert best_sentences(text, "How many seats does room 6 have?", 1) == ["The room has twelve seats."]
    assert best_sentences(text, "What does room 6 have?", 1) == ["The meeting room 6 has a screen."]


def test_a_record_of_a_table_is_a_sentence() -> None:
    table = "Part | Stock\nPart: valve; Stock: 12\nPart: hose; Stock: 7"
    assert sentences_of(table) == ["Part | Stock", "Part: valve; Stock: 12", "Part: hose; Stock: 7"]
    assert best_sentences(table, "How many of the hose are in stock?", 1) == ["Part: hose; Stock: 7"]
