"""Chat templates that fail, refuse messages, or would not end: each is an error that says so."""

from __future__ import annotations

import pytest

from core.errors import ConfigurationError, InvalidRequest
from core.messages import ChatMessage
from inference.text import template_sandbox
from inference.text.chat_template import ChatTemplate
from inference.text.template_choice import family_template

ASKED = [ChatMessage("user", "go")]
#: Renders what is in `<>` only for messages other than the probe at load.
ON_REQUEST = "{{% if messages[0].content == 'go' %}}{}{{% endif %}}"


@pytest.fixture(autouse=True)
def _little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_sandbox, "RENDER_SECONDS", 0.05)
    monkeypatch.setattr(template_sandbox, "MAX_SIZE", 100_000)


@pytest.mark.parametrize(
    "source", ["{% for %}", "{{ 1", "{% nonsense %}", "{{ x | no_such_filter }}", "(" * 5 + "{{" + "(" * 5000]
)
def test_a_template_that_does_not_compile_is_refused_at_load(source: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be used: line 1: .*Set CHAT_TEMPLATE"):
        ChatTemplate(source)


ENDLESS = {
    "loops": "{% set r = range(9999) %}{% for a in r %}{% for b in r %}{% for c in r %}{% endfor %}{% endfor %}"
    "{% endfor %}",
    "macros": "{% macro m(n) %}{{ m(n + 1) if n < 99 }}{{ m(n + 1) if n < 99 }}{% endmacro %}{{ m(0) }}",
    "recursive loop": "{% for x in [1, 2] recursive %}{{ loop([1, 2]) if loop.depth < 90 }}{% endfor %}",
    "power": "{{ 9 ** 999999 }}",
    "product": "{{ 'a' * 10 ** 12 }}",
    "list": "{{ [0] * 10 ** 12 }}",
    "sum": "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "concatenation": "{% set n = namespace(x='aa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "width": "{{ 'a'.center(10 ** 12) }}",
    "width of a filter": "{{ 'a' | center(10 ** 12) }}",
    "slices": "{{ [1] | slice(10 ** 12) | list }}",
    "text": "{% for i in range(9999) %}{{ 'a' * 9999 }}{% endfor %}",
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_does_not_end_is_refused_at_load(source: str) -> None:
    with pytest.raises(
        ConfigurationError, match="cannot be used: (it does not end within 0.05 s|.*(too large|longer|greater))"
    ):
        ChatTemplate(source)


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_request_that_a_template_cannot_render_is_refused_and_the_next_one_is_rendered(source: str) -> None:
    template = ChatTemplate(ON_REQUEST.format(source) + "{{ messages[0].content }}")
    with pytest.raises(InvalidRequest, match="cannot render these messages"):
        template.render(ASKED)
    assert template.render([ChatMessage("user", "Hi")]) == [("Hi", True)]


@pytest.mark.parametrize(
    "source",
    ["{{ [].__class__.__base__.__subclasses__() }}", "{{ messages.append(1) }}", "{{ 1 // 0 }}", "{{ m.x.y }}",
     "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% for x in 5 %}{% endfor %}", "{{ lipsum(n=10 ** 9) }}"],
)  # fmt: skip
def test_a_template_that_fails_on_a_request_is_an_error_of_the_request(source: str) -> None:
    template = ChatTemplate(ON_REQUEST.format(source) + "{{ messages[0].content }}")
    with pytest.raises(InvalidRequest, match="refuses these messages: ."):
        template.render(ASKED)


def test_a_refusal_has_the_words_of_the_template() -> None:
    template = ChatTemplate(family_template("llama2"))
    with pytest.raises(InvalidRequest, match="refuses these messages: After an optional system message, user and"):
        template.render([ChatMessage("assistant", "Hi"), ChatMessage("user", "Hello")])


@pytest.mark.parametrize("system", ["system", "developer"])
def test_a_system_message_begins_the_question_if_the_template_knows_none(system: str) -> None:
    messages = [ChatMessage(system, "Be kind."), ChatMessage("user", "Hi"), ChatMessage("user", "You?")]
    text = "".join(part for part, _ in ChatTemplate(family_template("gemma")).render(messages))
    assert text == "<start_of_turn>user\nBe kind.\n\nHi\n\nYou?<end_of_turn>\n<start_of_turn>model\n"


@pytest.mark.parametrize("name", ["messages", "tools", "bos_token", "add_generation_prompt", "namespace", "range"])
def test_options_cannot_take_the_place_of_what_the_template_gets(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"chat_template_kwargs: {name} cannot be set") as refused:
        ChatTemplate("{{ messages[0].content }}").render(ASKED, options={name: "x"})
    assert refused.value.param == "chat_template_kwargs"


def test_control_tokens_in_options_are_text() -> None:
    template = ChatTemplate("{{ persona }}<|end|>", control_tokens={"<|end|>": 7})
    assert template.render(ASKED, options={"persona": "a<|end|>b"}) == [
        ("a", True), ("<|end|>", False), ("b<|end|>", True),
    ]  # fmt: skip


def test_large_numbers_that_are_values_are_no_counts() -> None:
    source = (
        "{% macro m(n) %}{{ n }}{% endmacro %}{{ m(at) }} {{ at | string }} {{ at | tojson }} {{ at | default(1) }}"
    )
    assert ChatTemplate(source).render(ASKED, options={"at": 10**12}) == [(" ".join([str(10**12)] * 4), True)]
