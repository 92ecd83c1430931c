"""The sentences of a text that are about a question."""

from __future__ import annotations

from inference.text.sentences import LONGEST_SENTENCE, best_sentences, sentences_of
from inference.text.sources import Source


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
    assert best_sentences(_text(text), "How long is the warranty of the pump?", 1) == [
        "The pump has a warranty of 4 years."
    ]
    assert len(best_sentences(_text(text), "How long is the warranty of the pump?", 2)) == 2
    assert best_sentences(_text(text), "Who sings at night?", 2) == []


def test_the_best_sentence_is_the_last() -> None:
    text = "The warranty of a pump is 4 years. The pump is red. The warranty covers parts."
    assert (
        best_sentences(_text(text), "How long is the warranty of the pump?", 2)[-1]
        == "The warranty of a pump is 4 years."
    )


def test_a_question_for_a_number_prefers_sentences_with_another_number() -> None:
    text = "The meeting room 6 has a screen. It is booked by telephone. The room has twelve seats."
    assert best_sentences(_text(text), "How many seats does room 6 have?", 1) == ["The room has twelve seats."]
    assert best_sentences(_text(text), "What does room 6 have?", 1) == ["The meeting room 6 has a screen."]


def test_a_record_of_a_table_is_a_sentence() -> None:
    table = "Part | Stock\nPart: valve; Stock: 12\nPart: hose; Stock: 7"
    assert sentences_of(table) == ["Part | Stock", "Part: valve; Stock: 12", "Part: hose; Stock: 7"]


TABLE = "Part | Article | Stock\n" + "\n".join(
    f"Part: {part}; Article: {7000 + at}; Stock: {at + 12}" for at, part in enumerate(("seal", "valve", "Dr. No hose"))
)


def test_of_a_record_the_cells_that_are_asked_for_are_repeated() -> None:
    assert best_sentences(_text(TABLE), "How many of the part valve are in stock?", 2) == ["valve, Stock: 13"]
    assert best_sentences(_text(TABLE), "What is the article number of the hose?", 2) == ["Dr. No hose, Article: 7002"]
    assert best_sentences(_text("Item: bolt; Price: 3\nItem: nut; Price: 2"), "What does a nut cost?", 1) == [
        "nut, Price: 2"
    ]


def test_a_record_is_repeated_as_a_whole_if_no_column_is_named() -> None:
    whole = ["Part: valve; Article: 7001; Stock: 13"]
    assert best_sentences(_text(TABLE), "Which part has the number 7001?", 2) == whole
    assert best_sentences(_text(TABLE), "Tell me about the valve", 2) == whole
    assert best_sentences(_text("~~Part: valve; Stock: 13~~"), "Stock of the valve?", 1) == [
        "~~Part: valve; Stock: 13~~"
    ]


def test_no_record_is_repeated_for_the_names_of_its_columns() -> None:
    assert best_sentences(_text(TABLE), "Which part has the most in stock?", 2) == []


def test_a_sentence_is_about_the_names_before_it_and_about_its_heading() -> None:
    text = (
        "The pump BX-300 is made for houses. It is red. The fuse has 10 A.\nThe pump BX-400 is big. A fuse is optional."
    )
    assert best_sentences(_text(text), "Which fuse does the BX-300 have?", 1) == ["The fuse has 10 A."]
    assert best_sentences(_text(text), "Is the fuse of the BX-400 optional?", 1) == ["A fuse is optional."]
    titled = Source("Cave of Aule", "The cave of Aule is long. Inside it is nine degrees warm.")
    assert best_sentences([titled], "How warm is it in the cave of Aule?", 1) == ["Inside it is nine degrees warm."]


def test_a_related_word_stands_for_one_of_the_question() -> None:
    text = "The room has a screen. The room has 12 seats."
    assert best_sentences(_text(text), "How many people can sit in the room?", 1) == ["The room has 12 seats."]


def _text(text: str) -> list[Source]:
    return [Source("", text)]
