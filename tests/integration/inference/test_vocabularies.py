"""Vocabularies that other models have, in a file made of the starter model's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from llguidance import LLMatcher

from core.messages import ChatMessage
from core.settings import load_settings
from inference.engine import Engine
from inference.llama_backend import LlamaBackend
from inference.models import resolve_model
from tests.gguf_files import CONTROL, USER_DEFINED, changed_copy

RENAMED = {"<gh_stars>": ("<tool_call>", USER_DEFINED), "<reponame>": ("[TOOL_CALLS]", CONTROL)}
TURNS = "{% for message in messages %}{{ bos_token }}{{ message.content }}{{ eos_token }}{% endfor %}"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaBackend]:
    starter = resolve_model(load_settings(_env_file=None)).path
    path = changed_copy(starter, tmp_path_factory.mktemp("model") / "changed.gguf", TURNS, RENAMED)
    settings = load_settings(_env_file=None, model_path=path, context_length=512)
    backend = LlamaBackend(resolve_model(settings), settings)
    yield backend
    backend.close()


def allows(backend: LlamaBackend, grammar: str, token: int) -> bool:
    matcher = LLMatcher(backend.grammar_tokenizer(), grammar)
    assert not matcher.is_error(), matcher.get_error()
    return bool(matcher.consume_token(token))


def test_an_added_token_between_angle_brackets_is_text_to_grammars(backend: LlamaBackend) -> None:
    (token,) = backend.tokenize("<tool_call>", special=False)
    assert backend.token_bytes(token) == b"<tool_call>" and "<tool_call>" not in backend.control_tokens
    assert allows(backend, 'start: "<tool_call>"', token) and allows(backend, "start: /(.|\\n)*/", token)


def test_a_control_token_is_no_text_to_grammars(backend: LlamaBackend) -> None:
    token = backend.control_tokens["[TOOL_CALLS]"]
    assert backend.tokenize("[TOOL_CALLS]", special=True) == [token] and backend.token_bytes(token) == b""
    assert allows(backend, f"start: <[{token}]>", token)
    assert not allows(backend, 'start: "[TOOL_CALLS]"', token) and not allows(backend, "start: /(.|\\n)*/", token)


def test_templates_know_the_tokens_that_begin_and_end_a_turn(backend: LlamaBackend) -> None:
    engine = Engine(backend, slots=1, default_max_tokens=8, sink=lambda _: None)
    assert engine.prepare([ChatMessage("user", "Hi")]).text == "<|im_start|>Hi<|im_end|>"
