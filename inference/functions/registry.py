"""The registry of functions that the server runs. Any error in a call becomes an answer for the model."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, overload

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from core.errors import LlmApiError
from inference.functions.context import FunctionContext
from inference.functions.errors import FunctionDefinitionError, FunctionError
from inference.functions.signature import Signature, describe_problems, inspect_function

log = logging.getLogger(__name__)

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

DEFAULT_TIMEOUT_SECONDS = 30.0
#: The most calls that run at once. Those past their time limit do not count.
MAX_RUNNING = 64
#: The most calls of one function that may hang past their time limit, as Python cannot stop their threads.
MAX_HUNG_CALLS = 8
MAX_ARGUMENTS_BYTES = 64 * 2**10
#: A result goes into the prompt, which has room for a few thousand tokens.
MAX_RESULT_BYTES = 32 * 2**10


@dataclass(frozen=True)
class FunctionResult:
    """The outcome of a call: `result` as JSON data, or `error` for the model to explain."""

    name: str
    result: Any = None
    error: str | None = None

    @property
    def content(self) -> str:
        """The text of the `tool` message for the model."""
        body = self.result if self.error is None else {"error": self.error}
        return json.dumps(body, ensure_ascii=False)


@dataclass(frozen=True)
class RegisteredFunction:
    """A function with its schema. It may call only its declared `hosts`; `source` is the module that registered it."""

    name: str
    function: Callable[..., Any]
    signature: Signature
    source: str
    hosts: frozenset[str]
    timeout_seconds: float | None

    @property
    def schema(self) -> dict[str, Any]:
        """The function in the form of OpenAI's `tools`."""
        described = {
            "name": self.name,
            "description": self.signature.description,
            "parameters": self.signature.parameters,
        }
        return {"type": "function", "function": described}


@dataclass
class _Call:
    """A call of a function. Its caller gives up when its time limit is over, and its thread goes on."""

    name: str
    outcome: Future[Any] = field(default_factory=Future)
    given_up: bool = False
    ended: bool = False


class FunctionRegistry:
    """Functions by name. Thread-safe; a call blocks its caller, so call from neither the event loop nor the engine."""

    def __init__(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS, max_running: int = MAX_RUNNING) -> None:
        self.timeout_seconds = timeout_seconds
        self._functions: dict[str, RegisteredFunction] = {}
        self._lock = threading.Lock()
        self._max_running = max_running
        self._running = 0
        #: How many calls of a function hang: their time limit is over, but they have not returned.
        self._hung: Counter[str] = Counter()

    @overload
    def register(self, function: AnyFunction) -> AnyFunction: ...
    @overload
    def register(
        self, *, name: str | None = None, hosts: Iterable[str] = (), timeout_seconds: float | None = None
    ) -> Callable[[AnyFunction], AnyFunction]: ...
    def register(
        self,
        function: AnyFunction | None = None,
        *,
        name: str | None = None,
        hosts: Iterable[str] = (),
        timeout_seconds: float | None = None,
    ) -> AnyFunction | Callable[[AnyFunction], AnyFunction]:
        """Register a function, as `@register` or `@register(hosts={"example.org"})`, and return it unchanged.

        Raises:
            FunctionDefinitionError: if a model cannot call it, or another module has registered that name.
        """

        def add(target: AnyFunction) -> AnyFunction:
            self._add(target, name, frozenset(hosts), timeout_seconds)
            return target

        return add if function is None else add(function)

    def unregister_source(self, source: str) -> None:
        """Remove the functions of a module that failed to load."""
        with self._lock:
            self._functions = {name: known for name, known in self._functions.items() if known.source != source}

    @property
    def names(self) -> list[str]:
        """The names of all functions, sorted."""
        return sorted(self._functions)

    @property
    def hung_calls(self) -> int:
        """The number of calls whose time limit is over, but which have not returned."""
        return self._hung.total()

    def get(self, name: str) -> RegisteredFunction | None:
        """Return the function with this name, or None."""
        return self._functions.get(name)

    def schemas(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return the functions in the form of OpenAI's `tools`, sorted by name; with `names`, only the named ones."""
        wanted = self.names if names is None else sorted(set(names) & set(self._functions))
        return [self._functions[name].schema for name in wanted]

    def call(
        self, name: str, arguments: str | Mapping[str, Any], context: FunctionContext | None = None
    ) -> FunctionResult:
        """Run a function with arguments as a model wrote them: JSON text or an object.

        Faults of the function or of the model do not raise; they are the result's `error`.
        """
        registered = self._functions.get(name)
        try:
            if registered is None:
                raise FunctionError(f"There is no function {name!r}. There are: {', '.join(self.names) or 'none'}.")
            bound = (context or FunctionContext()).for_hosts(registered.hosts)
            keywords = registered.signature.bind(_parse_arguments(arguments), bound)
            return FunctionResult(name, result=self._run(registered, keywords))
        except ValidationError as error:
            return FunctionResult(name, error=f"Wrong arguments: {describe_problems(error)}")
        except (FunctionError, LlmApiError) as error:
            return FunctionResult(name, error=str(error))
        except Exception as error:  # a user's code may raise anything: the model gets the error, its owner a log entry
            log.warning("The function %s failed", name, exc_info=True)
            return FunctionResult(name, error=f"The function failed: {type(error).__name__}: {error}")

    def _add(
        self, function: Callable[..., Any], name: str | None, hosts: frozenset[str], timeout_seconds: float | None
    ) -> None:
        actual = name or function.__name__
        source = function.__module__
        signature = inspect_function(function, actual)
        with self._lock:
            known = self._functions.get(actual)
            if known is not None and known.source != source:
                raise FunctionDefinitionError(f"The name {actual} is taken by {known.source}; register under another.")
            entry = RegisteredFunction(actual, function, signature, source, hosts, timeout_seconds)
            self._functions = {**self._functions, actual: entry}

    def _run(self, registered: RegisteredFunction, keywords: dict[str, Any]) -> Any:
        limit = registered.timeout_seconds or self.timeout_seconds
        call = self._begin(registered.name)
        # Each call has its own daemon thread, so that a hanging one delays neither other calls nor the process's exit.
        work = threading.Thread(
            target=copy_context().run,
            args=(self._work, registered, keywords, limit, call),
            name=f"function-{registered.name}",
            daemon=True,
        )
        try:
            work.start()
        except RuntimeError:  # the system allows no more threads
            self._end(call)
            raise
        if not wait([call.outcome], timeout=limit).done:
            self._give_up(call)
            raise _out_of_time(limit)
        return _as_json(call.outcome.result())

    def _begin(self, name: str) -> _Call:
        with self._lock:
            if self._hung[name] >= MAX_HUNG_CALLS:
                raise FunctionError(f"The function {name} hangs: {MAX_HUNG_CALLS} calls of it have not returned.")
            if self._running >= self._max_running:
                raise FunctionError(f"Too many functions are running: {self._max_running}. Try again later.")
            self._running += 1
        return _Call(name)

    def _give_up(self, call: _Call) -> None:
        with self._lock:
            if not call.ended:
                call.given_up = True
                self._running -= 1
                self._hung[call.name] += 1

    def _end(self, call: _Call) -> None:
        with self._lock:
            call.ended = True
            if call.given_up:
                self._hung[call.name] -= 1
            else:
                self._running -= 1

    def _work(self, registered: RegisteredFunction, keywords: dict[str, Any], limit: float, call: _Call) -> None:
        answer, error = None, None
        try:
            answer = registered.function(**keywords)
            answer = asyncio.run(_awaited(answer, limit)) if inspect.isawaitable(answer) else answer
        except Exception as raised:  # re-raised in the caller's thread, where `call` handles it
            error = raised
        except BaseException as raised:  # such as SystemExit: a function may not end the server
            error = FunctionError(f"The function tried to end the program ({type(raised).__name__}).")
        self._end(call)
        call.outcome.set_result(answer) if error is None else call.outcome.set_exception(error)


def _out_of_time(limit_seconds: float) -> FunctionError:
    return FunctionError(f"The function did not answer within {limit_seconds:g} seconds.")


async def _awaited(answer: Awaitable[Any], limit_seconds: float) -> Any:
    try:
        async with asyncio.timeout(limit_seconds) as deadline:
            return await answer
    except TimeoutError:
        if deadline.expired():
            raise _out_of_time(limit_seconds) from None
        raise  # the function's own time limit


def _parse_arguments(arguments: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as an object; an empty text, which some models write, means no arguments."""
    if not isinstance(arguments, str):
        return dict(arguments)
    if len(arguments) > MAX_ARGUMENTS_BYTES:
        raise FunctionError(f"The arguments are longer than {MAX_ARGUMENTS_BYTES} characters.")
    try:
        parsed = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError) as error:
        raise FunctionError(f"The arguments are not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise FunctionError("The arguments must be a JSON object.")
    return cast(dict[str, Any], parsed)


def _as_json(value: Any) -> Any:
    """Return the value as JSON data, or raise FunctionError if it has no JSON form or is too large for a prompt."""
    try:
        data = to_jsonable_python(value, inf_nan_mode="null")
    except PydanticSerializationError as error:
        raise FunctionError(f"The function's result has no JSON form: {error}") from error
    size = len(json.dumps(data, ensure_ascii=False).encode())
    if size > MAX_RESULT_BYTES:
        raise FunctionError(f"The function answered {size} bytes; at most {MAX_RESULT_BYTES} fit. Ask for less.")
    return data


#: The registry of this process: `@function_registry.register` in any file of `FUNCTIONS_DIR`.
function_registry = FunctionRegistry()
