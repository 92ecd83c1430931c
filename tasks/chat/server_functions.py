"""The functions that the server runs for a job: which of them a request may use, and how they are run."""

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

#: How often a job that waits for its functions checks its deadline.
CHECK_SECONDS = 1.0
#: The limit on the error message of a function, which becomes a part of the prompt.
MAX_ERROR_CHARACTERS = 2000


class ServerFunctions:
    """Selects the registered functions that a request may use."""

    def __init__(self, registry: FunctionRegistry) -> None:
        self.registry = registry

    def tools_of(self, request: GenerateRequest) -> list[dict[str, Any]]:
        """Return the functions that the server runs for a request, in the form of its `tools`.

        Raises:
            InvalidRequest: if one is not registered or is also among the client's tools, or if `tool_choice` names a
                function that does not exist.
        """
        own = {tool["function"]["name"] for tool in request.tools}
        known = self.registry.names
        names = request.server_tools if isinstance(request.server_tools, list) else sorted(set(known) - own)
        for name in names:
            if name not in known:
                available = ", ".join(known) or "none"
                raise InvalidRequest(f"There is no function {name!r}. There are: {available}.", param="server_tools")
            if name in own:
                raise InvalidRequest(f"The function {name!r} is also among 'tools'.", param="server_tools")
        if request.tool_name is not None and request.tool_name not in own.union(names):
            raise InvalidRequest(f"There is no function {request.tool_name!r} to call.", param="tool_choice")
        return self.registry.schemas(names)


@dataclass(frozen=True)
class CompletedCall:
    """A call that has run, and its result."""

    call_id: str
    result: FunctionResult


class FunctionCalls:
    """Runs the calls of one job, each in a thread of its own, so that one that hangs delays no other."""

    def __init__(self) -> None:
        self._completed: queue.SimpleQueue[CompletedCall | None] = queue.SimpleQueue()

    def interrupt(self) -> None:
        """Make `run` check at once whether its job was cancelled.

        Functions that are running cannot be stopped. Their results are dropped.
        """
        self._completed.put(None)

    def run(
        self,
        registry: FunctionRegistry,
        calls: Sequence[dict[str, Any]],
        context: FunctionContext,
        check: Callable[[], None],
    ) -> Iterator[CompletedCall]:
        """Yield each call when it has completed. `check` must raise if the job was cancelled."""
        check()
        for call in calls:
            arguments = (registry, call, context)
            threading.Thread(target=self._call, args=arguments, name="function-call", daemon=True).start()
        left = len(calls)
        while left:
            try:
                completed = self._completed.get(timeout=CHECK_SECONDS)
            except queue.Empty:
                completed = None
            check()
            if completed is not None:
                left -= 1
                yield completed

    def _call(self, registry: FunctionRegistry, call: dict[str, Any], context: FunctionContext) -> None:
        result = registry.call(call["name"], call["arguments"], context)
        self._completed.put(CompletedCall(call["id"], _encodable(result)))


def _encodable(result: FunctionResult) -> FunctionResult:
    """Return the result, or an error if an event cannot carry it."""
    if result.error is not None:
        readable = result.error.encode(errors="replace").decode()
        return FunctionResult(result.name, error=readable[:MAX_ERROR_CHARACTERS])
    try:
        msgspec.json.encode(result.result)
    except (OverflowError, UnicodeEncodeError, RecursionError) as error:
        return FunctionResult(result.name, error=f"The function's result has no JSON form: {error}")
    return result
