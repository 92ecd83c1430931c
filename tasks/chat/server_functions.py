"""The functions that the server runs for a job: which ones it may, and running them off the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from core.errors import InvalidRequest
from core.messages import GenerateRequest
from inference.functions import FunctionContext, FunctionRegistry, FunctionResult
from inference.grammars.compiler import GrammarCompiler
from inference.grammars.tool_grammar import arguments_schema

#: How often a job that waits for its functions looks at its deadline.
CHECK_SECONDS = 1.0
#: What a function says of its failure goes into the prompt.
MAX_ERROR_CHARACTERS = 2000


class ServerFunctions:
    """What of the registry a request may use."""

    def __init__(self, registry: FunctionRegistry, grammars: GrammarCompiler) -> None:
        self.registry = registry
        self._grammars = grammars
        self._enforceable: dict[str, dict[str, Any]] = {}

    def tools_of(self, request: GenerateRequest) -> list[dict[str, Any]]:
        """The functions that the server runs for a request, in the form of its `tools`.

        Raises:
            InvalidRequest: one is not registered or is the client's too, or the choice names none that there is.
        """
        own = {tool["function"]["name"] for tool in request.tools}
        known = self.registry.names
        names = request.server_tools if isinstance(request.server_tools, list) else sorted(set(known) - own)
        for name in names:
            if name not in known:
                there = ", ".join(known) or "none"
                raise InvalidRequest(f"There is no function {name!r}. There are: {there}.", param="server_tools")
            if name in own:
                raise InvalidRequest(f"The function {name!r} is among 'tools' too.", param="server_tools")
        if request.tool_name is not None and request.tool_name not in own.union(names):
            raise InvalidRequest(f"There is no function {request.tool_name!r} to call.", param="tool_choice")
        return self.registry.schemas(names)

    def enforceable(self, tool: dict[str, Any]) -> dict[str, Any]:
        """The tool with a schema that a grammar can hold. Where its own is none, any object will do: the registry
        looks at the arguments anyway.
        """
        name: str = tool["function"]["name"]
        if name not in self._enforceable:
            self._enforceable[name] = tool if self._can_enforce(tool) else _with_any_arguments(tool)
        return self._enforceable[name]

    def _can_enforce(self, tool: dict[str, Any]) -> bool:
        try:
            self._grammars.json_schema(arguments_schema(tool["function"], "server_tools"))
        except InvalidRequest:
            return False
        return True


def _with_any_arguments(tool: dict[str, Any]) -> dict[str, Any]:
    return {**tool, "function": {**tool["function"], "parameters": {"type": "object"}}}


@dataclass(frozen=True)
class Answered:
    """The result of the call with this id."""

    call_id: str
    result: FunctionResult


class FunctionCalls:
    """The calls of one job that run now, each in a thread of its own: one that hangs holds up no other."""

    def __init__(self) -> None:
        self._answered: queue.SimpleQueue[Answered | None] = queue.SimpleQueue()

    def interrupt(self) -> None:
        """Makes who waits look whether the job goes on. What runs cannot be stopped; its result is dropped."""
        self._answered.put(None)

    def run(
        self,
        registry: FunctionRegistry,
        calls: Sequence[dict[str, Any]],
        context: FunctionContext,
        check: Callable[[], None],
    ) -> Iterator[Answered]:
        """The results as they come. `check` raises once nobody wants them any more."""
        check()
        for call in calls:
            arguments = (registry, call, context)
            threading.Thread(target=self._call, args=arguments, name="function-call", daemon=True).start()
        left = len(calls)
        while left:
            try:
                answered = self._answered.get(timeout=CHECK_SECONDS)
            except queue.Empty:
                answered = None
            check()
            if answered is not None:
                left -= 1
                yield answered

    def _call(self, registry: FunctionRegistry, call: dict[str, Any], context: FunctionContext) -> None:
        result = registry.call(call["name"], call["arguments"], context)
        self._answered.put(Answered(call["id"], _tellable(result)))


def _tellable(result: FunctionResult) -> FunctionResult:
    """The result as events can carry it."""
    if result.error is not None:
        readable = result.error.encode(errors="replace").decode()
        return FunctionResult(result.name, error=readable[:MAX_ERROR_CHARACTERS])
    try:
        msgspec.json.encode(result.result)
    except (OverflowError, UnicodeEncodeError, RecursionError) as error:
        return FunctionResult(result.name, error=f"The function's result has no JSON form: {error}")
    return result
