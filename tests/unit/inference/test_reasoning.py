"""Reasoning is separated from the answer, however the text comes in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages import ChatMessage
from inference.text.chat_template import ChatTemplate
from inference.text.detokenizer import Detokenizer
from inference.text.reasoning import (
    Beginning,
    Phase,
    Reasoning,
    ReasoningFormat,
    ReasoningSplitter,
    possible_start,
    reasoning_format,
)

THINK = ReasoningFormat("<think>", "</think>")
#: The same with tags that are tokens of the vocabulary.
OPEN, CLOSE = chr(0xDB00), chr(0xDB01)
TOKENS = ReasoningFormat("<think>", "</think>", marks={1: OPEN, 2: CLOSE}, token_texts={1: "<think>", 2: "</think>"})
HARMONY_TOKENS = {"<|channel|>": 1, "<|message|>": 2, "<|end|>": 3, "<|start|>": 4}
HARMONY = "{{ '<|start|>assistant<|channel|>analysis<|message|>' }}{{ '<|channel|>final<|message|>' }}"


def split(pieces: Sequence[str], reasoning: Reasoning) -> tuple[str, str]:
    splitter = ReasoningSplitter(reasoning)
    found = [*(splitter.push(piece) for piece in pieces), splitter.finish()]
    return "".join(thought for thought, _ in found), "".join(answer for _, answer in found)


CASES = [
    (Beginning.INSIDE, "\nHm, 2 < 3.\n</think>\n\nYes.", "Hm, 2 < 3.", "Yes."),
    (Beginning.INSIDE, "Hm </thin k> and on", "Hm </thin k> and on", ""),
    (Beginning.INSIDE, "Hm \n", "Hm", ""),
    (Beginning.INSIDE, "Hm </thi", "Hm </thi", ""),
    (Beginning.INSIDE, "\n\n</think>\n\nYes.", "", "Yes."),
    (Beginning.INSIDE, "a</think>b</think>c", "a", "b</think>c"),
    (Beginning.OPTIONAL, "<think>\nHm.\n\nOr?\n</think>\n Yes. ", "Hm.\n\nOr?", "Yes. "),
    (Beginning.OPTIONAL, "\n <think>Hm.</think>Yes.", "Hm.", "Yes."),
    (Beginning.OPTIONAL, " Yes, <think> is a tag.", "", " Yes, <think> is a tag."),
    (Beginning.OPTIONAL, "<thi", "", "<thi"),
    (Beginning.OPTIONAL, " \n", "", " \n"),
    (Beginning.OPTIONAL, "<b>Yes</b>", "", "<b>Yes</b>"),
    (Beginning.OPTIONAL, "<think></think>", "", ""),
    (Beginning.NONE, " <think> is a tag.", "", " <think> is a tag."),
]


@pytest.mark.parametrize(("beginning", "text", "thought", "answer"), CASES)
def test_any_pieces_give_the_same_parts(beginning: Beginning, text: str, thought: str, answer: str) -> None:
    """Try every way to cut a text into three pieces, and into single characters."""
    reasoning = Reasoning(THINK, beginning)
    for first, second in combinations(range(len(text) + 1), 2):
        assert split([text[:first], text[first:second], text[second:]], reasoning) == (thought, answer)
    assert split(list(text), reasoning) == split([text], reasoning) == (thought, answer)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", OPEN, CLOSE, "<", "/", "think", ">", " ", "\n", "a", "[1]"])),
    st.data(),
    st.sampled_from(list(Beginning)),
    st.sampled_from([THINK, TOKENS]),
)
def test_no_cut_changes_anything(
    parts: list[str], data: st.DataObject, beginning: Beginning, form: ReasoningFormat
) -> None:
    text, reasoning = "".join(parts), Reasoning(form, beginning)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    thought, answer = split([text], reasoning)
    assert split(pieces, reasoning) == (thought, answer)
    if form is TOKENS:
        assert not {OPEN, CLOSE} & set(thought + answer)


def test_tags_that_are_tokens_count_anywhere_and_those_spelled_out_only_at_the_beginning() -> None:
    text = f"{OPEN}One.{CLOSE}\nThe tag <think> is text. {OPEN}\nTwo.\n{CLOSE}\n\nDone."
    assert split(list(text), Reasoning(TOKENS, Beginning.OPTIONAL)) == (
        "One.\n\nTwo.",
        "The tag <think> is text. Done.",
    )
    assert split([f"Yes.{CLOSE}"], Reasoning(TOKENS, Beginning.OPTIONAL)) == ("", "Yes.")


def test_a_grammar_begins_with_a_token_of_its_own() -> None:
    splitter = ReasoningSplitter(Reasoning(THINK, Beginning.INSIDE, is_constrained=True))
    assert splitter.push("Hm.") == ("Hm.", "")
    assert splitter.push("</think>{") == ("{", "") and splitter.phase is Phase.ANSWER
    assert splitter.push(' {"a": 1}') == ("", ' {"a": 1}')


def marked(form: ReasoningFormat, text: str) -> str:
    return form.visible(text)


def test_channels_of_several_control_tokens_are_recognised() -> None:
    form = reasoning_format(HARMONY, HARMONY_TOKENS, HARMONY_TOKENS.get)
    assert form is not None and set(form.marks) == {1, 2, 3, 4}
    reasoning = Reasoning(form, Beginning.OPTIONAL)
    final = "<|channel|>final<|message|>"
    thought = f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{final}"
    assert split(list(marked(form, f"{thought}Yes.")), reasoning) == ("Hm.", "Yes.")
    assert split(list(marked(form, f"{final}Yes.")), reasoning) == ("", "Yes.")
    assert reasoning_format("<|user|>...<|end|>", {"<|end|>": 3}, HARMONY_TOKENS.get) is None


@pytest.mark.parametrize(
    ("template", "opening"),
    [
        ("{{ content.split('</think>')[-1] }}", "<think>"),
        ("[THINK]{{ x }}[/THINK]", "[THINK]"),
        ("<|START_THINKING|><|END_THINKING|>", "<|START_THINKING|>"),
        ("{{ '<|channel>thought\n<channel|>' }}", "<|channel>thought\n"),
        ("{{ content }}", None),
    ],
)
def test_the_template_tells_the_tags(template: str, opening: str | None) -> None:
    form = reasoning_format(template, {}, lambda _: None)
    assert (form and form.opening) == opening


def test_the_vocabulary_tells_the_tags_if_the_template_does_not() -> None:
    form = reasoning_format("{{ content }}", {}, {"<think>": 5, "</think>": 6}.get)
    assert form is not None and form.token_texts == {5: "<think>", 6: "</think>"}
    assert reasoning_format("{{ content }}", {}, {"<think>": 5}.get) is None


def template_of(end: str) -> ChatTemplate:
    return ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}{{ '</think>'[:0] }}" + end)


@pytest.mark.parametrize(
    ("end", "beginning"),
    [
        ("<think>\n", Beginning.INSIDE),
        ("<think>\n\n</think>\n\n", Beginning.NONE),
        ("assistant\n", Beginning.OPTIONAL),
        ("{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}", Beginning.OPTIONAL),
    ],
)
def test_the_end_of_the_prompt_tells_whether_the_answer_begins_with_reasoning(end: str, beginning: Beginning) -> None:
    template = template_of(end)
    reasoning = template.reasoning_after(template.render([ChatMessage("user", "Hi")]))
    assert reasoning is not None and reasoning.beginning is beginning


@pytest.mark.parametrize("options", [{"enable_thinking": False}, {"reasoning_effort": "none"}])
@pytest.mark.parametrize(
    "end",
    [
        "<think>\n",
        "{% if not enable_thinking %}<think></think>{% endif %}",
        "{% if not thinking %}<think></think>{% endif %}",
        "{{ '<think></think>' if reasoning_effort | default('none') == 'none' else '<think>' }}",
    ],
)
def test_thinking_can_be_switched_off_in_every_template(end: str, options: dict[str, object]) -> None:
    template = template_of(end)
    pieces = template.render([ChatMessage("user", "Hi")], options=options)
    reasoning = template.reasoning_after(pieces)
    assert reasoning is not None and reasoning.beginning is Beginning.NONE
    assert "".join(text for text, _ in pieces).count("<think>") == 1


@pytest.mark.parametrize(
    ("options", "rendered"),
    [
        ({}, "--"),
        ({"reasoning_effort": "low"}, "low-True-True"),
        ({"reasoning_effort": "high", "enable_thinking": False}, "high-False-False"),
        ({"enable_thinking": True}, "-True-True"),
    ],
)
def test_options_reach_templates_under_the_names_that_they_know(options: dict[str, object], rendered: str) -> None:
    template = ChatTemplate("{{ reasoning_effort }}-{{ enable_thinking }}-{{ thinking }}")
    assert template.render([ChatMessage("user", "Hi")], options=options) == [(rendered, True)]


def test_earlier_reasoning_is_given_to_templates_that_know_it() -> None:
    messages = [ChatMessage("user", "Hi"), ChatMessage("assistant", "Yes.", reasoning="Hm.<|end|>")]
    source = "{% for m in messages %}{{ m.reasoning_content }}/{{ m.thinking }}/{{ m.content }};{% endfor %}"
    pieces = ChatTemplate(source, control_tokens={"<|end|>": 1}).render(messages)
    assert "".join(text for text, _ in pieces) == "//Hi;Hm.<|end|>/Hm.<|end|>/Yes.;"
    assert ("<|end|>", False) in pieces
    unaware = ChatTemplate("{% for m in messages %}{{ m.content }};{% endfor %}")
    assert unaware.render(messages) == [("Hi;Yes.;", True)]


def detokenizer_of(text: str, **options: object) -> tuple[Detokenizer, list[int], Callable[[int], bytes]]:
    pieces = [character.encode() for character in text]
    read: Callable[[int], bytes] = pieces.__getitem__
    reasoning = Reasoning(THINK, Beginning.INSIDE)
    return Detokenizer(read, reasoning=reasoning, **options), list(range(len(pieces))), read  # type: ignore[arg-type]


def test_stop_strings_are_not_found_in_reasoning() -> None:
    detokenizer, tokens, _ = detokenizer_of("END? No.</think>Go END on", stop=["END"])
    assert "".join(map(detokenizer.push, tokens)) == "Go "
    assert detokenizer.take_reasoning() == "END? No." and detokenizer.stop_found


def test_what_was_sent_before_a_worker_was_lost_is_not_sent_again() -> None:
    text = "Hm, well.</think>Yes, of course."
    for sent in range(len("Hm, well.") + 1):
        for sent_text in (0, 3):
            detokenizer, tokens, _ = detokenizer_of(text, skip_characters=sent_text, skip_reasoning_characters=sent)
            answer = "".join(map(detokenizer.push, tokens)) + detokenizer.finish()
            assert (detokenizer.take_reasoning(), answer) == ("Hm, well."[sent:], "Yes, of course."[sent_text:])


@given(st.text("ab<"), st.lists(st.text("ab<", min_size=1), min_size=1))
def test_the_possible_start_is_the_longest_end_that_begins_a_text(text: str, sought: list[str]) -> None:
    lengths = [size for size in range(len(text) + 1) for one in sought if one[:size] == text[len(text) - size :] != one]
    assert possible_start(text, sought) == max(size for size in lengths if size < max(map(len, sought)))
