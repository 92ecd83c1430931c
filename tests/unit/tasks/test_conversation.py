"""Answers in rounds: what the next round asks for, how rounds are combined, and how they are resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events
from core.messages import ChatMessage, GenerateRequest, Timings, Usage
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.preparation import PreparedPrompt
from inference.functions import FunctionContext, FunctionRegistry
from tasks.chat.conversation import CUT_NOTE, Conversation, Round, cut_to_budget
from tasks.chat.resume_state import ResumeState
from tasks.chat.server_functions import FunctionCalls, ServerFunctions
from tasks.chat.tool_rounds import ToolRounds
from tasks.jobs.job_record import JobRecord
from tasks.jobs.kinds import CHAT
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Tasks
from tasks.jobs.records import JobRecords
from tasks.jobs.runner import ChoiceResult, RunningJob
from tests.fakes.fake_backend import FakeBackend

FIELDS: dict[str, Any] = {"job_id": "job-1", "attempt": 1}
ADD = {"type": "function", "function": {"name": "add"}}
OWN = {"type": "function", "function": {"name": "own"}}


def a_round(*names: str, result: Any = None, text: str = "", reason: str = "tool_calls", tokens: int = 10) -> Round:
    """Return a round in which the model called functions of the server, which all returned the same result."""
    calls = [
        {"id": f"call_{number}", "name": name, "arguments": "{}", "result": result, "error": None}
        for number, name in enumerate(names)
    ]
    return Round(ChoiceResult(text=text, finish_reason=reason, tool_results=calls), Usage(50, tokens), Timings())


def a_conversation(*rounds: Round, **fields: Any) -> Conversation:
    request = GenerateRequest(
        messages=[ChatMessage("user", "2 and 3?")],
        tools=[OWN, ADD],
        server_tools=["add"],
        tool_choice="required",
        **fields,
    )
    return Conversation(request, frozenset({"add"}), list(rounds), list(request.messages))


def test_what_was_required_is_required_once() -> None:
    assert a_conversation().next_request().tool_choice == "required"
    following = a_conversation(a_round("add"), tool_name="add").next_request()
    assert (following.tool_choice, following.tool_name, following.tools) == ("auto", None, [OWN, ADD])


def test_after_the_last_round_of_calls_only_the_clients_tools_are_offered() -> None:
    assert a_conversation(a_round("add"), max_tool_rounds=2).next_request().tools == [OWN, ADD]
    assert a_conversation(a_round("add"), a_round("add"), max_tool_rounds=2).next_request().tools == [OWN]


def test_the_limit_on_tokens_applies_to_all_rounds_together() -> None:
    assert a_conversation(a_round("add"), max_tokens=30).next_request().max_tokens == 20
    assert a_conversation(a_round("add")).next_request().max_tokens is None
    assert a_conversation(a_round("add"), max_tokens=10).end_reason == "length"
    assert a_conversation(a_round("add"), max_tokens=11).end_reason is None


def test_an_answer_may_end_after_a_call() -> None:
    mixed = a_round("add")
    mixed.result.tool_calls.append({"id": "call_9"})
    assert a_conversation(mixed).end_reason == "tool_calls"
    assert a_conversation(a_round("add", reason="length")).end_reason == "length"
    assert a_conversation().end_reason is None


def test_text_results_and_usage_of_all_rounds_are_combined() -> None:
    conversation = a_conversation(a_round("add", text="Let me see.\n\n"), a_round("add"))
    whole = conversation.combined_choice(ChoiceResult(text="It is 5.", finish_reason="stop"))
    assert (whole.text, whole.finish_reason, len(whole.tool_results)) == ("Let me see.\n\nIt is 5.", "stop", 2)
    assert conversation.total_usage(Usage(70, 7)) == Usage(170, 27)


def test_a_round_becomes_a_call_and_its_results() -> None:
    assistant, *results = a_round("add", "add", result={"sum": 5}, text="Well.\n\n").messages(["a", "b"])
    assert assistant.content == "Well."
    assert [call["id"] for call in assistant.tool_calls or ()] == ["call_0", "call_1"]
    assert [(one.role, one.content, one.tool_call_id) for one in results] == [
        ("tool", "a", "call_0"),
        ("tool", "b", "call_1"),
    ]


def test_short_texts_are_not_cut() -> None:
    short, *long = cut_to_budget(["brief", "x" * 500, "y" * 900], 400, len)
    assert short == "brief"
    assert all(text.endswith(CUT_NOTE) and 150 < len(text) < 200 for text in long)
    assert cut_to_budget(["brief", "also"], 400, len) == ["brief", "also"]


def test_the_replay_is_sorted_into_rounds() -> None:
    resume = ResumeState.from_events(
        [
            events.Accepted(**FIELDS, model="m"),
            events.TextDelta(**FIELDS, text="Let me see.", token_ids=[1]),
            events.ToolCallDelta(**FIELDS, call_index=0, server=True, id="call_a", name="add", token_ids=[2]),
            events.ToolCallDelta(**FIELDS, call_index=0, server=True, arguments="{}"),
            events.ToolCallDelta(**FIELDS, call_index=1, server=True, id="call_b", name="add"),
            events.RoundFinished(**FIELDS, finish_reason="tool_calls", usage=Usage(5, 6)),
            events.ToolResult(**FIELDS, call_id="call_b", name="add", result=7),
            events.TextDelta(**FIELDS, text="So", token_ids=[3]),
        ]
    )
    (first,) = resume.rounds
    assert (first.result.text, first.result.finish_reason, first.usage) == ("Let me see.", "tool_calls", Usage(5, 6))
    assert [call["id"] for call in first.unanswered] == ["call_a"]
    assert first.result.tool_results[0]["arguments"] == "{}" and first.result.tool_results[1]["result"] == 7
    (choice,) = resume.choices(1)
    assert resume.accepted and (choice.result.text, choice.token_ids) == ("So", [3])


# The prompt of the next round, in a context of 600 tokens. A token is a byte.


class JobWithoutRedis(RunningJob):
    """A job that collects its events."""

    def emit(self, *items: events.AnyEvent, state: str = "") -> None:
        self.items = [*getattr(self, "items", []), *items]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(FakeBackend(context_length=600), slots=1, default_max_tokens=100, sink=lambda _: None)
    yield engine
    engine.close()


def next_prompt(
    engine: Engine, folder: Path, conversation: Conversation, functions: FunctionRegistry, **values: Any
) -> PreparedPrompt | None:
    settings = load_settings(_env_file=None, data_dir=folder, max_tokens=100, redis_url="redis://127.0.0.1:1", **values)
    records: JobRecords = object()  # type: ignore[assignment]
    record = JobRecord("job-1", CHAT, Tasks.GENERATE, 1, "taken", False, "", 0.0, None, False, False)
    producer: Producer = object()  # type: ignore[assignment]
    rounds = ToolRounds(settings, engine, producer, ServerFunctions(functions), FunctionContext())
    return rounds.complete_round(JobWithoutRedis(record, b"{}", records), FunctionCalls(), conversation)


@pytest.fixture
def registry() -> FunctionRegistry:
    registry = FunctionRegistry()

    @registry.register
    def add(text: str) -> str:
        """Repeat."""
        return text * 100

    return registry


def unanswered(arguments: str, *, times: int = 1) -> Round:
    calls = [{"id": f"call_{number}", "name": "add", "arguments": arguments} for number in range(times)]
    return Round(ChoiceResult(finish_reason="tool_calls", tool_results=calls), Usage(50, 10), Timings())


def test_results_that_are_too_long_are_cut_to_fit(engine: Engine, tmp_path: Path, registry: FunctionRegistry) -> None:
    conversation = a_conversation(unanswered('{"text": "pear "}', times=2), max_tokens=300)
    conversation.request.tools.clear()
    prepared = next_prompt(engine, tmp_path, conversation, registry)
    assert prepared is not None and prepared.text.count(CUT_NOTE) == 2
    assert 400 < len(prepared.token_ids) <= 450, "a quarter of the context is for the answer"
    assert prepared.max_tokens == 600 - len(prepared.token_ids)
    results = [call["result"] for call in conversation.rounds[0].result.tool_results]
    assert [len(result) for result in results] == [500, 500], "the client gets the whole results"


def test_a_conversation_without_room_for_another_round_ends(
    engine: Engine, tmp_path: Path, registry: FunctionRegistry
) -> None:
    conversation = a_conversation(unanswered('{"text": "pear "}'))
    conversation.request.tools.clear()
    conversation.messages = [ChatMessage("user", "x" * 560)]
    assert next_prompt(engine, tmp_path, conversation, registry) is None
    assert conversation.end_reason == "length"


def test_old_turns_make_room_for_results_if_they_may_be_dropped(
    engine: Engine, tmp_path: Path, registry: FunctionRegistry
) -> None:
    conversation = a_conversation(unanswered('{"text": "pear "}'), max_tokens=300)
    conversation.request.tools.clear()
    history = [ChatMessage("user", "x" * 200), ChatMessage("assistant", "y" * 100), ChatMessage("user", "Why?")]
    conversation.messages = history
    prepared = next_prompt(engine, tmp_path, conversation, registry, truncation="oldest")
    assert prepared is not None and "xxx" not in prepared.text
    assert conversation.messages[0] == history[-1] and conversation.messages[-1].role == "tool"
    assert len(conversation.messages[-1].content or "") > 200, "a part of the result has the room"
