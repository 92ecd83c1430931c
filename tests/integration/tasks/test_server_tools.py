"""Functions that the server runs in the middle of an answer: the real engine, a real Redis, real functions.

The first round's call is required, since the starter model seldom makes one by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from core import events
from core.messages import ChatMessage
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
    """A request that has to call this one function first."""
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
    """All events of an answer for which two digits were added."""
    return world.run(**fields_for("add"))


def test_a_function_is_run_and_the_model_goes_on(world: World, sum_of: list[events.AnyEvent]) -> None:
    ((name, arguments),) = calls_of(sum_of, server=True)
    assert name == "add" and calls_of(sum_of) == []
    assert results_of(sum_of) == [("add", {"sum": arguments["a"] + arguments["b"]}, None)]
    assert text_of(sum_of) and reasons_of(sum_of)[0] in ("stop", "length")
    assert world.workshop.added == [(arguments["a"], arguments["b"])]


def test_what_is_used_is_summed_over_the_rounds(sum_of: list[events.AnyEvent]) -> None:
    (paused,) = (event for event in sum_of if isinstance(event, events.RoundFinished))
    usage = finished(sum_of).usage
    assert paused.finish_reason == "tool_calls" and paused.usage.completion_tokens > 0
    assert paused.usage.completion_tokens < usage.completion_tokens <= 70
    assert usage.prompt_tokens > 2 * paused.usage.prompt_tokens


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("break_down", "The function failed: ValueError: the gears are ? stuck"),
        ("dawdle", "The function did not answer within 0.2 seconds."),
        ("search_documents", "No worker that could search the documents is running."),
    ],
)
def test_what_goes_wrong_in_a_function_is_told_to_the_model(world: World, name: str, error: str) -> None:
    emitted = world.run(**fields_for(name))
    assert results_of(emitted) == [(name, None, error)]
    assert text_of(emitted) and finished(emitted)


def test_a_schema_that_no_grammar_holds_is_left_to_the_function(world: World) -> None:
    emitted = world.run(**fields_for("pick", max_tokens=60))
    ((name, result, error),) = results_of(emitted) or [("pick", None, "cut")]
    assert name == "pick" and (isinstance(result, int) or error)
    assert finished(emitted)


def test_without_rounds_left_the_model_answers(world: World) -> None:
    emitted = world.run(**fields_for("add", max_tool_rounds=1))
    assert len(results_of(emitted)) == 1 and text_of(emitted)


def test_a_call_for_the_client_ends_the_answer_as_ever(world: World) -> None:
    emitted = world.run(**fields_for("get_time", tools=[OWN], server_tools="all"))
    assert calls_of(emitted) == [("get_time", {})] and results_of(emitted) == []
    assert reasons_of(emitted) == ["tool_calls"]


def test_calls_for_both_run_what_is_the_servers_and_leave_the_rest_to_the_client(world: World) -> None:
    """Parallel calls that the starter model does not make by itself: an earlier attempt has emitted them."""
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


def test_a_function_that_blocks_keeps_no_slot_and_can_be_cancelled(world: World) -> None:
    job_id = world.submit(**fields_for("wait_here"))
    runner = threading.Thread(target=world.emitted, args=(job_id,))
    runner.start()
    try:
        assert world.workshop.waiting.wait(30)
        stats = world.service.engine.stats()
        assert (stats.running, stats.waiting) == (0, 0)
        assert text_of(world.run(messages=QUESTION, max_tokens=5)), "others are served meanwhile"
        assert world.producer.cancel(job_id)
        runner.join(5)
        assert not runner.is_alive(), "cancelled while the function goes on"
    finally:
        world.workshop.release.set()
        runner.join(30)
    replay = [event for _, event in world.producer.records.replay(job_id)]
    assert isinstance(replay[-1], events.Cancelled) and results_of(replay) == []


KINDS = (events.RoundFinished, events.ToolResult, events.TextDelta)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_lost_worker_is_followed_by_one_that_runs_nothing_twice(
    world: World, sum_of: list[events.AnyEvent], kind: type
) -> None:
    """The worker is lost right after it has emitted the first event of this kind."""
    first = next(at for at, event in enumerate(sum_of) if isinstance(event, kind))
    told_kinds = events.TextDelta | events.ToolCallDelta | events.RoundFinished | events.ToolResult
    past = [(type(event), fields_of(event)) for event in sum_of[: first + 1] if isinstance(event, told_kinds)]
    before = len(world.workshop.added)
    emitted = world.resume(past, **fields_for("add"))
    assert len(world.workshop.added) - before == (1 if kind is events.RoundFinished else 0)
    assert calls_of(emitted, server=True) == calls_of(sum_of, server=True)
    assert results_of(emitted) == results_of(sum_of)
    # Not the very same words: a prompt that is computed anew rounds otherwise than one that was generated.
    kept = "".join(fields["text"] for kind, fields in past if kind is events.TextDelta)
    assert text_of(emitted).startswith(kept) and len(text_of(emitted)) > len(kept)
    assert finished(emitted).usage.prompt_tokens == finished(sum_of).usage.prompt_tokens


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"server_tools": ["add", "subtract"]}, "server_tools", "subtract"),
        ({"server_tools": ["add"], "tools": [TAKEN]}, "server_tools", "add"),
        ({"server_tools": "all", "tool_choice": "required", "tool_name": "subtract"}, "tool_choice", "subtract"),
    ],
)
def test_a_function_that_is_not_there_is_refused_before_anything_is_told(
    world: World, fields: dict[str, Any], param: str, says: str
) -> None:
    refused, message = refusal_of(world.run(messages=QUESTION, **fields))
    assert refused == param and says in message


def test_the_refusal_says_which_functions_there_are(world: World) -> None:
    _, message = refusal_of(world.run(messages=QUESTION, server_tools=["subtract"]))
    assert "add, break_down, dawdle, pick, search_documents, wait_here" in message


def test_an_asynchronous_job_keeps_what_was_run(world: World) -> None:
    wait_until(lambda: world.service.engine.stats().running == 0)
    job_id = world.submit_durable(**fields_for("add"))
    emitted = world.emitted(job_id)
    (choice,) = world.result_of(job_id).choices
    assert [call["name"] for call in choice.tool_results] == ["add"]
    assert choice.tool_results[0]["result"] == results_of(emitted)[0][1]
    assert choice.text == text_of(emitted)
