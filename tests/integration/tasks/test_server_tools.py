"""Functions that the server runs during an answer, with the real engine, a real Redis and real functions.

The first round's call is required, as the starter model seldom makes one by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from core import events
from core.messages import ChatMessage, SearchRequest
from tasks.jobs.queues import Queue, Role, Tasks
from tasks.jobs.records import Append
from tests.integration.tasks.generating import (
    World,
    calls_of,
    fields_of,
    reasons_of,
    refusal_of,
    results_of,
    text_of,
)
from tests.support import wait_until

QUESTION = [ChatMessage("user", "How much is 2 and 3?")]
TAKEN = {"type": "function", "function": {"name": "add"}}
OWN = {"type": "function", "function": {"name": "get_time", "description": "The time."}}


def fields_for(name: str, **more: Any) -> dict[str, Any]:
    """Return the fields of a request that must call this function first."""
    fields: dict[str, Any] = {
        "messages": QUESTION,
        "server_tools": [name],
        "tool_choice": "required",
        "tool_name": name,
        "max_tokens": 70,
    }
    return fields | more


def finished(emitted: Sequence[events.AnyEvent]) -> events.Finished:
    assert isinstance(emitted[-1], events.Finished), emitted[-1]
    return emitted[-1]


@pytest.fixture(scope="module")
def sum_of(world: World) -> list[events.AnyEvent]:
    """Return all events of an answer for which two digits were added."""
    return world.run(**fields_for("add"))


def test_a_function_is_run_and_the_model_continues(world: World, sum_of: list[events.AnyEvent]) -> None:
    ((name, arguments),) = calls_of(sum_of, server=True)
    assert name == "add" and calls_of(sum_of) == []
    assert results_of(sum_of) == [("add", {"sum": arguments["a"] + arguments["b"]}, None)]
    assert text_of(sum_of) and reasons_of(sum_of)[0] in ("stop", "length")
    assert world.workshop.added == [(arguments["a"], arguments["b"])]


def test_the_usage_is_summed_over_the_rounds(sum_of: list[events.AnyEvent]) -> None:
    (first,) = (event for event in sum_of if isinstance(event, events.RoundFinished))
    usage = finished(sum_of).usage
    assert first.finish_reason == "tool_calls" and first.usage.completion_tokens > 0
    assert first.usage.completion_tokens < usage.completion_tokens <= 70
    assert usage.prompt_tokens > 2 * first.usage.prompt_tokens


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("break_down", "The function failed: ValueError: the gears are ? stuck"),
        ("dawdle", "The function did not answer within 0.2 seconds."),
        ("search_documents", "No worker that could search the documents is running."),
    ],
)
def test_an_error_of_a_function_is_passed_to_the_model(world: World, name: str, error: str) -> None:
    emitted = world.run(**fields_for(name))
    assert results_of(emitted) == [(name, None, error)]
    assert text_of(emitted) and finished(emitted)


def test_arguments_that_no_grammar_can_constrain_are_validated_by_the_registry(world: World) -> None:
    emitted = world.run(**fields_for("pick", max_tokens=60))
    ((name, result, error),) = results_of(emitted) or [("pick", None, "cut")]
    assert name == "pick" and (isinstance(result, int) or error)
    assert finished(emitted)


def test_after_the_last_round_of_calls_the_model_answers(world: World) -> None:
    emitted = world.run(**fields_for("add", max_tool_rounds=1))
    assert len(results_of(emitted)) == 1 and text_of(emitted)


def test_a_call_of_a_client_function_ends_the_answer(world: World) -> None:
    emitted = world.run(**fields_for("get_time", tools=[OWN], server_tools="all"))
    assert calls_of(emitted) == [("get_time", {})] and results_of(emitted) == []
    assert reasons_of(emitted) == ["tool_calls"]


def test_of_parallel_calls_the_server_runs_only_its_own(world: World) -> None:
    """Resume after parallel calls, as the starter model makes none by itself."""
    calls: list[Any] = [
        (events.ToolCallDelta, {"call_index": 0, "server": True, "id": "call_s", "name": "add"}),
        (events.ToolCallDelta, {"call_index": 0, "server": True, "arguments": '{"a": 2, "b": 3}'}),
        (events.ToolCallDelta, {"call_index": 0, "id": "call_c", "name": "get_time"}),
        (events.ToolCallDelta, {"call_index": 0, "arguments": "{}"}),
        (events.RoundFinished, {"finish_reason": "tool_calls"}),
    ]
    emitted = world.resume(calls, **fields_for("add", tools=[OWN]))
    assert calls_of(emitted) == [("get_time", {})]
    assert results_of(emitted) == [("add", {"sum": 5}, None)]
    assert reasons_of(emitted) == ["tool_calls"] and text_of(emitted) == ""


def test_a_function_that_blocks_occupies_no_slot_and_can_be_cancelled(world: World) -> None:
    job_id = world.submit(**fields_for("wait_here"))
    runner = threading.Thread(target=world.generate, args=(job_id,))
    runner.start()
    try:
        assert world.workshop.waiting.wait(30)
        stats = world.service.engine.stats()
        assert (stats.running, stats.waiting) == (0, 0)
        assert text_of(world.run(messages=QUESTION, max_tokens=5)), "others are served meanwhile"
        assert world.producer.cancel(job_id)
        runner.join(5)
        assert not runner.is_alive(), "cancelled while the function still runs"
    finally:
        world.workshop.release.set()
        runner.join(30)
    replay = [event for _, event in world.producer.records.replay(job_id)]
    assert isinstance(replay[-1], events.Cancelled) and results_of(replay) == []


KINDS = (events.RoundFinished, events.ToolResult, events.TextDelta)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_another_worker_does_not_run_a_function_again(world: World, sum_of: list[events.AnyEvent], kind: type) -> None:
    """Lose the first worker right after it has emitted the first event of this kind."""
    first = next(index for index, event in enumerate(sum_of) if isinstance(event, kind))
    replayed_kinds = events.TextDelta | events.ToolCallDelta | events.RoundFinished | events.ToolResult
    replayed = [(type(event), fields_of(event)) for event in sum_of[: first + 1] if isinstance(event, replayed_kinds)]
    before = len(world.workshop.added)
    emitted = world.resume(replayed, **fields_for("add"))
    assert len(world.workshop.added) - before == (1 if kind is events.RoundFinished else 0)
    assert calls_of(emitted, server=True) == calls_of(sum_of, server=True)
    assert results_of(emitted) == results_of(sum_of)
    # The new text may differ, since tokens are rounded differently in prefill than in decode.
    replayed_text = "".join(fields["text"] for kind, fields in replayed if kind is events.TextDelta)
    assert text_of(emitted).startswith(replayed_text) and len(text_of(emitted)) > len(replayed_text)
    assert finished(emitted).usage.prompt_tokens == finished(sum_of).usage.prompt_tokens


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"server_tools": ["add", "subtract"]}, "server_tools", "subtract"),
        ({"server_tools": ["add"], "tools": [TAKEN]}, "server_tools", "add"),
        ({"server_tools": "all", "tool_choice": "required", "tool_name": "subtract"}, "tool_choice", "subtract"),
    ],
)
def test_an_unusable_function_is_refused_before_the_request_is_accepted(
    world: World, fields: dict[str, Any], param: str, says: str
) -> None:
    refused, message = refusal_of(world.run(messages=QUESTION, **fields))
    assert refused == param and says in message


def test_the_refusal_lists_the_functions(world: World) -> None:
    _, message = refusal_of(world.run(messages=QUESTION, server_tools=["subtract"]))
    assert "add, break_down, dawdle, pick, search_documents, wait_here" in message


def test_the_result_of_a_durable_job_contains_the_calls(world: World) -> None:
    wait_until(lambda: world.service.engine.stats().running == 0)
    job_id = world.submit_durable(**fields_for("add"))
    emitted = world.generate(job_id)
    (choice,) = world.result_of(job_id).choices
    assert [call["name"] for call in choice.tool_results] == ["add"]
    assert choice.tool_results[0]["result"] == results_of(emitted)[0][1]
    assert choice.text == text_of(emitted)


def test_a_function_searches_what_the_key_of_its_request_may_read(world: World) -> None:
    records = world.producer.records
    before = set(records.next_waiting(Queue.QUERY, 1000))
    world.producer.announce(Role.INDEX, "index@test", {})  # else the search ends at once
    job_id = world.submit(**fields_for("search_documents"), within=["contracts"])
    thread = threading.Thread(target=world.generate, args=(job_id,))
    thread.start()
    wait_until(lambda: set(records.next_waiting(Queue.QUERY, 1000)) - before, 60)
    (search_id,) = set(records.next_waiting(Queue.QUERY, 1000)) - before
    claimed = records.claim(search_id, Tasks.SEARCH)
    assert claimed is not None
    record, request = claimed
    at = {"job_id": search_id, "attempt": 1}
    records.append(Append(search_id, 1, [events.Cancelled(**at)], Queue.QUERY, claim=record.claim, number=1))
    thread.join(60)
    world.producer.withdraw(Role.INDEX, "index@test")
    assert msgspec.json.decode(request, type=SearchRequest).within == ["contracts"]


def test_a_key_that_may_not_read_documents_searches_none(world: World) -> None:
    emitted = world.run(**fields_for("search_documents"), within=[])
    error = "The API key of this request may not read documents."
    assert results_of(emitted) == [("search_documents", None, error)]
