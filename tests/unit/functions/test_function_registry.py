"""The registry: schemas from signatures, and calls in which every outcome is an answer for the model."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from core.errors import Unavailable
from inference.functions import FunctionContext, FunctionDefinitionError, FunctionError, FunctionRegistry
from inference.functions.registry import MAX_HUNG_CALLS
from tests.support import wait_until


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Address(BaseModel):
    street: str
    city: str = "Berlin"


@pytest.fixture
def registry() -> FunctionRegistry:
    return FunctionRegistry(timeout_seconds=5)


def parameters_of(registry: FunctionRegistry, name: str) -> dict[str, Any]:
    (tool,) = registry.schemas([name])
    parameters: dict[str, Any] = tool["function"]["parameters"]
    return parameters


def test_the_schema_comes_from_the_signature_and_the_docstring(registry: FunctionRegistry) -> None:
    @registry.register
    def order(article: str, count: Annotated[int, Field(ge=1)], size: Literal["s", "m"] = "s") -> str:
        """Order an article.

        It is delivered the next day.

        Args:
            article: The article's number,
                as printed on the label.
            count (int): How many.

        Returns:
            Nothing: that matters here.
        """
        return f"{count} {article} {size}"

    assert registry.schemas() == [
        {
            "type": "function",
            "function": {
                "name": "order",
                "description": "Order an article. It is delivered the next day.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "article": {"type": "string", "description": "The article's number, as printed on the label."},
                        "count": {"type": "integer", "minimum": 1, "description": "How many."},
                        "size": {"type": "string", "enum": ["s", "m"], "default": "s"},
                    },
                    "required": ["article", "count"],
                    "additionalProperties": False,
                },
            },
        }
    ]
    assert order("a", 1) == "1 a s", "the function itself is not changed"


def test_a_restructured_text_docstring_is_read_too(registry: FunctionRegistry) -> None:
    @registry.register
    def greet(name: str, title: str = "") -> str:
        """Greet someone.

        :param name: Who it is.
        :param str title: Such as Dr.
        :returns: The greeting.
        """
        return f"Hello {title} {name}"

    properties = parameters_of(registry, "greet")["properties"]
    assert properties["name"]["description"] == "Who it is."
    assert properties["title"]["description"] == "Such as Dr."
    assert registry.schemas()[0]["function"]["description"] == "Greet someone."


def test_models_enums_dates_and_lists_become_schemas_and_come_back_as_values(registry: FunctionRegistry) -> None:
    @registry.register
    def ship(to: Address, size: Size, days: list[date], note: str | None = None) -> dict[str, Any]:
        """Ship it."""
        return {"city": to.city, "size": size, "first": days[0], "note": note}

    arguments = {"to": {"street": "A 1"}, "size": "large", "days": ["2026-01-02"]}
    jsonschema.Draft202012Validator.check_schema(parameters_of(registry, "ship"))
    jsonschema.validate(arguments, parameters_of(registry, "ship"))
    assert registry.call("ship", arguments).result == {
        "city": "Berlin",
        "size": "large",
        "first": "2026-01-02",
        "note": None,
    }


def test_parameters_may_have_names_that_a_pydantic_field_cannot_have(registry: FunctionRegistry) -> None:
    @registry.register
    def odd(schema: str, model_config: int, _hidden: bool = False, title: str = "t") -> list[Any]:
        """Take odd names."""
        return [schema, model_config, _hidden, title]

    assert list(parameters_of(registry, "odd")["properties"]) == ["schema", "model_config", "_hidden", "title"]
    assert registry.call("odd", {"schema": "s", "model_config": 2, "_hidden": True}).result == ["s", 2, True, "t"]


def test_a_context_is_passed_and_hidden_from_the_model(registry: FunctionRegistry) -> None:
    @registry.register(hosts=["example.org"])
    def hosts(context: FunctionContext) -> list[str]:
        """List the allowed hosts."""
        return sorted(context.allowed_hosts)

    assert parameters_of(registry, "hosts")["properties"] == {}
    assert registry.call("hosts", "").result == ["example.org"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"count": "many"}', "count: "),
        ("{}", "count: Field required"),
        ('{"count": 1, "color": "red"}', "color: Extra inputs"),
        ("{count: 1}", "not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"count": 1' + " " * 70_000 + "}", "longer than"),
        ("[" * 60_000, "not JSON"),
    ],
)
def test_wrong_arguments_are_reported(registry: FunctionRegistry, arguments: str, message: str) -> None:
    @registry.register
    def buy(count: int) -> int:
        """Buy."""
        return count

    result = registry.call("buy", arguments)
    assert result.result is None
    assert message in (result.error or "")
    assert json.loads(result.content) == {"error": result.error}


def test_numbers_written_as_text_are_accepted(registry: FunctionRegistry) -> None:
    @registry.register
    def buy(count: int) -> int:
        """Buy."""
        return count

    assert registry.call("buy", '{"count": "3"}').result == 3


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FunctionError("The shop is closed."), "The shop is closed."),
        (Unavailable("The store does not answer."), "The store does not answer."),
        (KeyError("x"), "The function failed: KeyError: 'x'"),
        (TimeoutError("own"), "The function failed: TimeoutError: own"),
        (SystemExit(3), "The function tried to end the program (SystemExit)."),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_errors_of_a_function_are_reported(
    registry: FunctionRegistry, error: BaseException, message: str, asynchronous: bool
) -> None:
    def fail() -> None:
        """Fail."""
        raise error

    async def fail_later() -> None:
        """Fail."""
        await asyncio.sleep(0)
        raise error

    registry.register(name="fail")(fail_later if asynchronous else fail)
    assert registry.call("fail", {}).error == message


def test_an_unknown_function_is_reported_with_the_known_ones(registry: FunctionRegistry) -> None:
    @registry.register
    def known() -> None:
        """Return nothing."""

    assert registry.call("unknown", {}).error == "There is no function 'unknown'. There are: known."


def test_functions_that_hang_disable_themselves_only() -> None:
    registry = FunctionRegistry(timeout_seconds=0.05, max_running=2)
    release = threading.Event()

    @registry.register
    def hang() -> None:
        """Hang."""
        release.wait(30)

    @registry.register
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    try:
        for _ in range(MAX_HUNG_CALLS):
            assert registry.call("hang", {}).error == "The function did not answer within 0.05 seconds."
        assert registry.hung_calls == MAX_HUNG_CALLS
        assert registry.call("hang", {}).error == "The function hang hangs: 8 calls of it have not returned."
        assert registry.call("add", {"a": 1, "b": 2}).result == 3
    finally:
        release.set()
    wait_until(lambda: registry.hung_calls == 0)
    assert registry.call("hang", {}).error is None


def test_the_number_of_calls_that_run_at_once_is_bounded() -> None:
    registry = FunctionRegistry(timeout_seconds=20, max_running=1)
    release, running = threading.Event(), threading.Event()

    @registry.register
    def wait_here() -> None:
        """Wait."""
        running.set()
        release.wait(20)

    first = threading.Thread(target=registry.call, args=("wait_here", {}))
    first.start()
    try:
        assert running.wait(60)
        assert registry.call("wait_here", {}).error == "Too many functions are running: 1. Try again later."
    finally:
        release.set()
    first.join(10)
    assert registry.call("wait_here", {}).error is None


def test_an_async_function_is_cancelled_when_its_time_is_over(registry: FunctionRegistry) -> None:
    cancelled = threading.Event()

    @registry.register(timeout_seconds=0.05)
    async def hang() -> None:
        """Hang."""
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert registry.call("hang", {}).error == "The function did not answer within 0.05 seconds."
    assert cancelled.wait(60)


def test_async_functions_run(registry: FunctionRegistry) -> None:
    @registry.register
    async def double(number: float) -> float:
        """Double a number."""
        await asyncio.sleep(0)
        return number * 2

    assert registry.call("double", '{"number": 1.5}').content == "3.0"


def test_results_without_a_json_form_or_too_large_for_a_prompt_are_reported(registry: FunctionRegistry) -> None:
    @registry.register
    def thing() -> object:
        """Return an object without a JSON form."""
        return object()

    @registry.register
    def much() -> str:
        """Return a long text."""
        return "x" * 100_000

    assert "no JSON form" in (registry.call("thing", {}).error or "")
    assert "at most 32768 fit" in (registry.call("much", {}).error or "")


def test_infinite_numbers_and_circular_lists_do_not_break_the_answer(registry: FunctionRegistry) -> None:
    @registry.register
    def infinite() -> list[float]:
        """Return infinite numbers."""
        return [float("inf"), float("nan"), 1.5]

    @registry.register
    def circle() -> list[Any]:
        """Return a list that contains itself."""
        endless: list[Any] = []
        endless.append(endless)
        return endless

    assert registry.call("infinite", {}).content == "[null, null, 1.5]"
    assert "The function failed" in (registry.call("circle", {}).error or "")


def test_a_field_as_default_keeps_its_bounds_and_its_own_description(registry: FunctionRegistry) -> None:
    @registry.register
    def buy(count: int = Field(5, ge=1, description="Pieces.")) -> int:
        """Buy.

        Args:
            count: Not this one.
        """
        return count

    assert parameters_of(registry, "buy")["properties"]["count"]["description"] == "Pieces."
    assert registry.call("buy", "").result == 5
    assert "greater than or equal to 1" in (registry.call("buy", {"count": 0}).error or "")


def test_calls_from_many_threads_run_at_the_same_time(registry: FunctionRegistry) -> None:
    together = threading.Barrier(8)

    @registry.register
    def meet(number: int) -> int:
        """Return when eight calls run at the same time."""
        together.wait(60)
        return number

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: registry.call("meet", {"number": number}).result, range(8)))
    assert results == list(range(8))


def no_annotation(thing) -> None:  # type: ignore[no-untyped-def]
    """Take an argument without an annotation."""


def variadic(*things: str) -> None:
    """Take any number of arguments."""


def no_json(thing: threading.Event) -> None:
    """Take an argument whose type has no JSON form."""


def unknown_type(thing: Unheard) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Take an argument whose type does not exist."""


@pytest.mark.parametrize("function", [no_annotation, variadic, no_json, unknown_type])
def test_a_function_that_no_model_could_call_is_refused_by_name(registry: FunctionRegistry, function: Any) -> None:
    with pytest.raises(FunctionDefinitionError, match=function.__name__):
        registry.register(function)


def test_names_follow_the_rule_of_openai(registry: FunctionRegistry) -> None:
    with pytest.raises(FunctionDefinitionError, match="no name for a function"):
        registry.register(name="a b")(lambda: None)


def test_a_name_belongs_to_one_module(registry: FunctionRegistry) -> None:
    def twice() -> int:
        """Return 1."""
        return 1

    def again() -> int:
        """Return 2."""
        return 2

    again.__name__ = "twice"
    registry.register(twice)
    registry.register(again)
    assert registry.call("twice", {}).result == 2, "the same module may define it anew, as when it is loaded again"

    twice.__module__ = "elsewhere"
    with pytest.raises(FunctionDefinitionError, match=f"taken by {__name__}"):
        registry.register(twice)
