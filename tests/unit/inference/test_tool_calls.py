"""Tool calls in the model's text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.tool_calls import BareCallParser, CallParser, Text, ToolCall, ToolCallParser

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


def parse(text: str, size: int = 1, parser: CallParser | None = None) -> list[Text | ToolCall]:
    parser = parser or ToolCallParser()
    found = [one for at in range(0, len(text), size) for one in parser.push(text[at : at + size])]
    merged: list[Text | ToolCall] = []
    for one in [*found, *parser.finish()]:
        if isinstance(one, Text) and merged and isinstance(merged[-1], Text):
            merged[-1] = Text(merged[-1].text + one.text)
        else:
            merged.append(one)
    return merged


@given(st.integers(1, 100))
def test_calls_and_text_are_told_apart_however_they_arrive(size: int) -> None:
    assert parse(f"Well < that.{CALL}{CALL}", size) == [
        Text("Well < that."),
        ToolCall(0, "add", '{"a": 1}'),
        ToolCall(1, "add", '{"a": 1}'),
    ]


@given(st.text(st.sampled_from("<tool_cal>/x{}"), max_size=60), st.integers(1, 10))
def test_what_is_no_call_is_text_and_nothing_is_lost(text: str, size: int) -> None:
    assert "".join(one.text for one in parse(text, size) if isinstance(one, Text)) == text


def test_a_call_without_its_closing_tag_counts_if_it_is_whole() -> None:
    assert parse('<tool_call>{"name": "add", "arguments": {}}') == [ToolCall(0, "add", "{}")]
    assert parse('<tool_call>{"name": "add", "argu') == [Text('<tool_call>{"name": "add", "argu')]


def test_broken_json_is_text() -> None:
    assert parse("<tool_call>{oops}</tool_call>") == [Text("<tool_call>{oops}</tool_call>")]


@given(
    st.lists(st.sampled_from([CALL, "word", " ", "\n", "<", "<tool_call>", "{oops}</tool_call>"])), st.integers(1, 40)
)
def test_white_space_around_calls_is_told_the_same_however_it_arrives(parts: list[str], size: int) -> None:
    assert parse("".join(parts), size) == parse("".join(parts), 10_000)


def test_white_space_before_a_call_is_no_text() -> None:
    assert parse(f"\n{CALL}\n{CALL}\n") == [ToolCall(0, "add", '{"a": 1}'), ToolCall(1, "add", '{"a": 1}')]
    assert parse(f"So: \n{CALL}") == [Text("So:"), ToolCall(0, "add", '{"a": 1}')]
    assert parse(" just text \n") == [Text(" just text \n")]


def test_arguments_stay_as_they_were_written() -> None:
    arguments = '{"text": "</tool_call>", "big": 12345678901234567890123, "far": 1e999}'
    assert parse(f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>') == [ToolCall(0, "f", arguments)]


BARE = '{"name": "add", "parameters": {"a": 1}}'


@given(st.integers(1, 100))
def test_an_answer_without_tags_is_one_call_as_a_whole(size: int) -> None:
    assert parse(BARE, size, BareCallParser()) == [ToolCall(0, "add", '{"a": 1}')]


@given(
    st.sampled_from(["Hi", '{"name": 1}', '{"na', "{}", "", f" {BARE}", f"So: {BARE}", f"{BARE} so"]), st.integers(1, 9)
)
def test_without_tags_everything_else_is_text(text: str, size: int) -> None:
    assert parse(text, size, BareCallParser()) == ([Text(text)] if text else [])


def test_text_without_tags_is_told_as_soon_as_it_is_none() -> None:
    parser = BareCallParser()
    assert parser.push('{"na') == [] and not parser.is_inside
    assert parser.push("val") == [Text('{"naval')] and parser.push("!") == [Text("!")]


def test_a_call_without_tags_that_is_cut_off_is_known_to_be_one() -> None:
    parser = BareCallParser()
    assert parser.push(BARE[:-1]) == [] and parser.is_inside
    assert parser.push("}") == [] and not parser.is_inside
