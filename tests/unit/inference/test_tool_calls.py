"""The parsers that find tool calls in a model's text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.grammars.call_formats import (
    BareFormat,
    CallFormat,
    FunctionTagFormat,
    MistralListFormat,
    ParameterTagFormat,
    TaggedFormat,
    Text,
    ToolCall,
)
from tests.call_forms import FORMS, PLAIN, form_id, parsed

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}},
}


def parse(text: str, size: int = 1, form: CallFormat | None = None) -> list[Text | ToolCall]:
    return parsed((form or TaggedFormat()).parser([TOOL]), text, size)


@given(st.integers(1, 100))
def test_calls_and_text_are_separated_however_they_arrive(size: int) -> None:
    assert parse(f"Well < that.{CALL}{CALL}", size) == [
        Text("Well < that."),
        ToolCall(0, "add", '{"a": 1}'),
        ToolCall(1, "add", '{"a": 1}'),
    ]


@given(st.text(st.sampled_from("<tool_cal>/x{}"), max_size=60), st.integers(1, 10))
def test_anything_but_a_call_is_text_and_nothing_is_lost(text: str, size: int) -> None:
    assert "".join(one.text for one in parse(text, size) if isinstance(one, Text)) == text


def test_a_call_without_its_closing_tag_counts_if_it_is_complete() -> None:
    assert parse('<tool_call>{"name": "add", "arguments": {}}') == [ToolCall(0, "add", "{}")]
    assert parse('<tool_call>{"name": "add", "argu') == [Text('<tool_call>{"name": "add", "argu')]


def test_broken_json_is_text() -> None:
    assert parse("<tool_call>{oops}</tool_call>") == [Text("<tool_call>{oops}</tool_call>")]


@given(
    st.lists(st.sampled_from([CALL, "word", " ", "\n", "<", "<tool_call>", "{oops}</tool_call>"])), st.integers(1, 40)
)
def test_white_space_around_calls_is_the_same_however_it_arrives(parts: list[str], size: int) -> None:
    assert parse("".join(parts), size) == parse("".join(parts), 10_000)


def test_white_space_before_a_call_is_dropped() -> None:
    assert parse(f"\n{CALL}\n{CALL}\n") == [ToolCall(0, "add", '{"a": 1}'), ToolCall(1, "add", '{"a": 1}')]
    assert parse(f"So: \n{CALL}") == [Text("So:"), ToolCall(0, "add", '{"a": 1}')]
    assert parse(" just text \n") == [Text(" just text \n")]


def test_arguments_stay_as_they_were_written() -> None:
    arguments = '{"text": "</tool_call>", "big": 12345678901234567890123, "far": 1e999}'
    assert parse(f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>') == [ToolCall(0, "f", arguments)]


BARE = '{"name": "add", "parameters": {"a": 1}}'


@given(st.integers(1, 100))
def test_a_whole_answer_without_tags_is_one_call(size: int) -> None:
    assert parse(BARE, size, BareFormat()) == [ToolCall(0, "add", '{"a": 1}')]


@given(
    st.sampled_from(["Hi", '{"name": 1}', '{"na', "{}", "", f" {BARE}", f"So: {BARE}", f"{BARE} so"]), st.integers(1, 9)
)
def test_without_tags_everything_else_is_text(text: str, size: int) -> None:
    assert parse(text, size, BareFormat()) == ([Text(text)] if text else [])


def test_text_without_tags_is_emitted_as_soon_as_it_cannot_be_a_call() -> None:
    parser = BareFormat().parser()
    assert parser.push('{"na') == [] and not parser.is_inside
    assert parser.push("val") == [Text('{"naval')] and parser.push("!") == [Text("!")]


def test_a_call_without_tags_that_is_cut_off_is_recognised() -> None:
    parser = BareFormat().parser()
    assert parser.push(BARE[:-1]) == [] and parser.is_inside
    assert parser.push("}") == [] and not parser.is_inside


def tagged_parameters(values: dict[str, Any]) -> str:
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function=add>\n{parameters}</function>\n</tool_call>"


AMID_TEXT = [form for form in FORMS if not isinstance(form, BareFormat)]
PIECES = [
    "word", " ", "\n", "[", "]", "{", "}", '"', "<function=add>", "</function>\n", "<parameter=b>\n",
    "\n</parameter>\n",
]  # fmt: skip
ADD = '{"a": 1, "b": "]}[ARGS]</tool_call></function>\\\\\\""}'


def calls_as_text(form: CallFormat) -> list[str]:
    """Return answers with one call and with two calls, as the parsers of the format get them."""
    match form:
        case TaggedFormat():
            one = '<tool_call>\n{"name": "add", "arguments": ADD}\n</tool_call>'
            texts = [one, f"{one}\n{one}"]
        case MistralListFormat():
            plain, with_id = (f'{{"name": "add", "arguments": ADD{more}}}' for more in ("", ', "id": "123abcXYZ"'))
            texts = [f"[TOOL_CALLS][{plain}]", f"[TOOL_CALLS] [{with_id}, {plain}]"]
        case FunctionTagFormat():
            one = "<function=add>ADD</function>"
            texts = [one, one + one]
        case ParameterTagFormat():
            one = tagged_parameters({"a": 1, "b": "TEXT"})
            texts = [one, f"{one}\n<tool_call>\n<function=add>\nADD\n</function>\n</tool_call>"]
        case _:
            plain, with_id = (f"[TOOL_CALLS]add{call_id}[ARGS]ADD" for call_id in ("", "[CALL_ID]123abcXYZ"))
            texts = [with_id, plain + plain]
    for marker in form.controls:
        texts = [text.replace(marker, form.marker_in_text(marker)) for text in texts]
    # Replaced last, because the same characters within the arguments are text.
    return [text.replace("ADD", ADD).replace("TEXT", json.loads(ADD)["b"]) for text in texts]


@pytest.mark.parametrize("form", AMID_TEXT, ids=form_id)
@given(size=st.integers(1, 100))
def test_each_format_is_parsed_however_it_arrives(form: CallFormat, size: int) -> None:
    one, two = calls_as_text(form)
    assert parse(f"So [: {one}", size, form) == [Text("So [:"), ToolCall(0, "add", ADD)]
    assert parse(two, size, form) == [ToolCall(0, "add", ADD), ToolCall(1, "add", ADD)]


@pytest.mark.parametrize("form", AMID_TEXT, ids=form_id)
@given(data=st.data(), size=st.integers(1, 40))
def test_calls_among_similar_text_are_found_however_they_arrive(
    form: CallFormat, data: st.DataObject, size: int
) -> None:
    pieces = [
        *calls_as_text(form),
        *map(form.marker_in_text, form.markers),
        "word",
        " ",
        "\n",
        "[",
        "]",
        "{",
        "}",
        '"',
        "x" * 150,
    ]
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=8)))
    assert parse(text, size, form) == parse(text, 10_000, form)


@pytest.mark.parametrize("form", PLAIN, ids=form_id)
@given(data=st.data(), size=st.integers(1, 10))
def test_anything_but_a_call_is_text_in_each_format_and_nothing_is_lost(
    form: CallFormat, data: st.DataObject, size: int
) -> None:
    pieces = [*form.markers, *PIECES, *"<tool_cal>/x[TOL_CALS]ARG"]
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=30)))
    found = parse(text, size, form)
    if not any(isinstance(one, ToolCall) for one in found):
        assert "".join(one.text for one in found if isinstance(one, Text)) == text


@pytest.mark.parametrize("form", [form for form in AMID_TEXT if form.controls], ids=form_id)
def test_control_tokens_are_never_text(form: CallFormat) -> None:
    opening, *others = (form.marker_in_text(marker) for marker in form.markers)
    assert parse(f"So {opening}: that {''.join(others)} is it", 3, form) == [Text("So : that  is it")]


@pytest.mark.parametrize("form", [form for form in AMID_TEXT if form.controls], ids=form_id)
def test_text_that_spells_a_control_token_is_text(form: CallFormat) -> None:
    text = calls_as_text(type(form)())[0]
    assert parse(text, 5, form) == [Text(text)]


END = "\n</parameter>\n"
#: Texts that neither contain the end of a parameter nor form one together with the end after them.
TEXTS = (st.text() | st.sampled_from(["", "\n", "\n</parameter> x", "</function>\n"])).filter(
    lambda text: (text + END).find(END) == len(text)
)
VALUES = st.dictionaries(st.sampled_from("ab"), TEXTS)


@given(values=VALUES, size=st.integers(1, 30))
def test_strings_between_the_tags_of_a_parameter_are_unquoted(values: dict[str, str], size: int) -> None:
    values = {**values, "a": 12345678901234567890123}
    (call,) = parse(tagged_parameters(values), size, ParameterTagFormat())
    assert isinstance(call, ToolCall) and json.loads(call.arguments) == values


def test_malformed_json_in_a_parameter_makes_the_call_text() -> None:
    text = tagged_parameters({"a": "one"})
    assert parse(text, 7, ParameterTagFormat()) == [Text(text)]
