"""The first prompt of an answer, in a context of 600 tokens. A token is a byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import ContextLengthExceeded
from core.messages import ChatMessage, GenerateRequest, Hit, RagOptions
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.functions import FunctionRegistry
from tasks.chat.prompts import PromptBuilder
from tasks.chat.server_functions import ServerFunctions
from tests.fakes.fake_backend import FakeBackend

SYSTEM, QUESTION = ChatMessage("system", "Be kind."), ChatMessage("user", "Why?")
TURNS = [[ChatMessage("user", letter * 150), ChatMessage("assistant", letter * 150)] for letter in "ab"]
HISTORY = [SYSTEM, *TURNS[0], *TURNS[1], QUESTION]
TOOL = {"type": "function", "function": {"name": "x" * 200, "parameters": {"type": "object"}}}


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(FakeBackend(context_length=600), slots=1, sink=lambda _: None)
    yield engine
    engine.close()


def builder(engine: Engine, folder: Path, truncation: str) -> PromptBuilder:
    settings = load_settings(_env_file=None, data_dir=folder, truncation=truncation)
    return PromptBuilder(settings, engine, ServerFunctions(FunctionRegistry()))


def test_a_conversation_that_is_too_long_is_refused_by_default(engine: Engine, tmp_path: Path) -> None:
    prompts = builder(engine, tmp_path, "off")
    conversation = prompts.begin(GenerateRequest(HISTORY, max_tokens=50), [])
    assert (conversation.messages, conversation.dropped_messages) == (HISTORY, 0)
    with pytest.raises(ContextLengthExceeded):
        prompts.prepare(conversation.request)


def test_the_oldest_turns_are_dropped_if_that_is_set(engine: Engine, tmp_path: Path) -> None:
    prompts = builder(engine, tmp_path, "oldest")
    conversation = prompts.begin(GenerateRequest(HISTORY, max_tokens=50), [])
    assert conversation.messages == [SYSTEM, *TURNS[1], QUESTION]
    assert conversation.dropped_messages == 2
    prepared = prompts.prepare(conversation.request)
    assert 300 < len(prepared.token_ids) <= 550 and prepared.max_tokens == 50


def test_an_answer_without_a_limit_keeps_a_quarter_of_the_context(engine: Engine, tmp_path: Path) -> None:
    prompts = builder(engine, tmp_path, "oldest")
    request = GenerateRequest([ChatMessage("user", "a" * 200), ChatMessage("assistant", "b" * 200), QUESTION])
    assert prompts.begin(request, []).dropped_messages == 0, "444 of 450 tokens"
    request = GenerateRequest([ChatMessage("user", "a" * 200), ChatMessage("assistant", "b" * 210), QUESTION])
    assert prompts.begin(request, []).dropped_messages == 2


def test_tools_are_counted_with_the_conversation(engine: Engine, tmp_path: Path) -> None:
    conversation = builder(engine, tmp_path, "oldest").begin(GenerateRequest(HISTORY, tools=[TOOL], max_tokens=50), [])
    assert conversation.messages == [SYSTEM, QUESTION]


def test_old_turns_make_room_for_what_was_found(engine: Engine, tmp_path: Path) -> None:
    hit = Hit("doc-1", 0, "x" * 100, 1.0, "a.txt", "default")
    request = GenerateRequest(HISTORY[:3] + [QUESTION], rag=RagOptions(query="Why?", top_k=1), max_tokens=50)
    conversation = builder(engine, tmp_path, "oldest").begin(request, [hit])
    assert conversation.dropped_messages == 2 and conversation.hits == [hit]
    assert [message.role for message in conversation.messages] == ["system", "user"]
    assert hit.text in (conversation.messages[1].content or "")


def test_a_message_that_does_not_fit_alone_is_refused(engine: Engine, tmp_path: Path) -> None:
    prompts = builder(engine, tmp_path, "oldest")
    conversation = prompts.begin(GenerateRequest([*HISTORY, ChatMessage("user", "x" * 600)]), [])
    with pytest.raises(ContextLengthExceeded):
        prompts.prepare(conversation.request)
