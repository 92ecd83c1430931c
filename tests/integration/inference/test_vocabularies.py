"""Vocabularies of other models, in a copy of the starter model's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from core.messages import ChatMessage, ToolChoice
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.llama_backend import LlamaBackend
from inference.engine.model_files import resolve_model
from inference.grammars.call_formats import AnswerOptions, CallFormat, MistralListFormat, MistralNamedFormat
from inference.grammars.tool_grammar import tool_grammar
from inference.text.chat_template import ChatTemplate
from tests.chat_templates import LISTED, NAMED, NAMED_WITH_IDS
from tests.gguf_files import CONTROL, USER_DEFINED, changed_copy

RENAMED = {
    "<gh_stars>": ("<tool_call>", USER_DEFINED),
    "<reponame>": ("[TOOL_CALLS]", CONTROL),
    "<file_sep>": ("[ARGS]", CONTROL),
    "<filename>": ("[CALL_ID]", CONTROL),
}
TURNS = "{% for message in messages %}{{ bos_token }}{{ message.content }}{{ eos_token }}{% endfor %}"
ADD: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
TOOLS = [ADD, {"type": "function", "function": {"name": "add_all"}}]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaBackend]:
    starter = resolve_model(load_settings(_env_file=None)).path
    path = changed_copy(starter, tmp_path_factory.mktemp("model") / "changed.gguf", TURNS, RENAMED)
    settings = load_settings(_env_file=None, model_path=path, context_length=512)
    backend = LlamaBackend(resolve_model(settings), settings)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def vocabulary(backend: LlamaBackend) -> LLTokenizer:
    tokenizer: LLTokenizer = backend.grammar_tokenizer()
    return tokenizer


def takes(vocabulary: LLTokenizer, grammar: str, tokens: list[int]) -> bool:
    """Return whether a grammar accepts these tokens as a complete answer."""
    matcher = LLMatcher(vocabulary, grammar)
    assert not matcher.is_error(), matcher.get_error()
    if matcher.validate_tokens(tokens) < len(tokens):
        return False
    matcher.consume_tokens(tokens)
    return bool(matcher.is_accepting())


def test_an_added_token_between_angle_brackets_is_text_to_grammars(
    backend: LlamaBackend, vocabulary: LLTokenizer
) -> None:
    (token,) = backend.tokenize("<tool_call>", special=False)
    assert backend.token_bytes(token) == b"<tool_call>" and "<tool_call>" not in backend.control_tokens
    assert takes(vocabulary, 'start: "<tool_call>"', [token]) and takes(vocabulary, "start: /(.|\\n)*/", [token])


def test_a_control_token_is_not_text_to_grammars(backend: LlamaBackend, vocabulary: LLTokenizer) -> None:
    token = backend.control_tokens["[TOOL_CALLS]"]
    assert backend.tokenize("[TOOL_CALLS]", special=True) == [token] and backend.token_bytes(token) == b""
    assert takes(vocabulary, f"start: <[{token}]>", [token])
    assert not takes(vocabulary, 'start: "[TOOL_CALLS]"', [token])
    assert not takes(vocabulary, "start: /(.|\\n)*/", [token])


def test_templates_know_the_tokens_that_begin_and_end_a_turn(backend: LlamaBackend) -> None:
    engine = Engine(backend, slots=1, default_max_tokens=8, sink=lambda _: None)
    assert engine.prepare([ChatMessage("user", "Hi")]).text == "<|im_start|>Hi<|im_end|>"


CALLS = {
    LISTED: (
        '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}, {"name": "add_all", "arguments": {}, "id": "abcABC123"}]'
    ),
    NAMED: '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]add_all[ARGS]{}',
    NAMED_WITH_IDS: '[TOOL_CALLS]add[CALL_ID]abcABC123[ARGS]{"a": 1}[TOOL_CALLS]add_all[CALL_ID]abcABC124[ARGS]{}',
}


def form_of(template: str, controls: Mapping[str, int]) -> CallFormat:
    return ChatTemplate(template, control_tokens=controls).call_format


@pytest.mark.parametrize("template", CALLS, ids=["listed", "named", "named with ids"])
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_calls_after_control_tokens_are_enforced(
    backend: LlamaBackend, vocabulary: LLTokenizer, template: str, mode: ToolChoice
) -> None:
    form = form_of(template, backend.control_tokens)
    assert isinstance(form, MistralListFormat | MistralNamedFormat) and len(form.controls) == len(form.markers)
    grammar, calls = tool_grammar(TOOLS, AnswerOptions(mode, parallel=True), form), CALLS[template]
    assert takes(vocabulary, grammar, backend.tokenize(calls, special=True))
    for right, wrong in [
        ("add_all", "add_"),
        ('"a": 1', '"a": "1"'),
        ('{"a": 1}', "{}"),
        ("ABC123", "ABC12"),
        (": {}", ":{}"),
    ]:
        if right in calls:
            assert not takes(vocabulary, grammar, backend.tokenize(calls.replace(right, wrong), special=True)), wrong
    one_only = tool_grammar(TOOLS, AnswerOptions(mode), form)
    assert not takes(vocabulary, one_only, backend.tokenize(calls, special=True))


@pytest.mark.parametrize("template", CALLS, ids=["listed", "named", "named with ids"])
def test_text_is_free_until_the_control_token_occurs(
    backend: LlamaBackend, vocabulary: LLTokenizer, template: str
) -> None:
    form = form_of(template, backend.control_tokens)
    grammar = tool_grammar(TOOLS, AnswerOptions("auto"), form)
    spelled = backend.tokenize("Write [TOOL_CALLS][ARGS]\nand {so} on.", special=False)
    assert takes(vocabulary, grammar, spelled)
    begun = [*spelled, backend.control_tokens["[TOOL_CALLS]"]]
    assert not takes(vocabulary, grammar, [*begun, *backend.tokenize(" Hello", special=False)])
    assert not takes(vocabulary, tool_grammar(TOOLS, AnswerOptions("required"), form), spelled)
