"""`tool_choice: required` with many different sets of tools: every answer is a call that fits its schema."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest

from core.messages import ChatMessage, SamplingParams
from tests.integration.tasks.generating import World, calls_of, reasons_of, text_of
from tests.tool_sets import tool_set

QUESTION = [ChatMessage("user", "Do it.")]
SETS = 100


def assert_valid_calls(world: World, numbers: Iterable[int]) -> None:
    with ThreadPoolExecutor(4) as threads:
        problems = [problem for problem in threads.map(lambda number: problem_of(world, number), numbers) if problem]
    assert not problems, "\n".join(problems)


def problem_of(world: World, number: int) -> str | None:
    """Return what is wrong with the call that answers a set of tools, or None if it is right."""
    tools = tool_set(number)
    # With this temperature, it is the grammar that makes the call fit, not the model.
    sampling = SamplingParams(temperature=0.8, seed=number)
    emitted = world.run(
        messages=QUESTION,
        tools=tools,
        tool_choice="required",
        parallel_tool_calls=False,
        sampling=sampling,
        max_tokens=400,
    )
    try:
        assert (reasons_of(emitted), text_of(emitted)) == (["tool_calls"], "")
        ((name, arguments),) = calls_of(emitted)
        schemas = {tool["function"]["name"]: tool["function"].get("parameters", {"maxProperties": 0}) for tool in tools}
        jsonschema.Draft202012Validator(schemas[name]).validate(arguments)
        assert set(arguments) <= set(schemas[name].get("properties", {})), "closed where properties are listed"
    except (AssertionError, ValueError, jsonschema.ValidationError) as error:
        return f"set {number}: {error}"
    return None


@pytest.mark.soak
def test_required_calls_of_all_tool_sets_are_valid(world: World) -> None:
    """Check all tool sets with the model. `tests/unit/inference/test_tool_sets.py` checks them without one."""
    assert_valid_calls(world, range(SETS))
