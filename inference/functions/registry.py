"""The registry of functions that the server runs. Whatever goes wrong in a call is an answer for the model."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import dataclass
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
#: A call that ran out of time goes on in its thread, as Python cannot stop one; this many may pile up.
MAX_RUNNING = 64
MAX_ARGUMENTS_BYTES = 64 * 2**10
#: A result goes into the prompt, where a few thousand tokens are all there is.
MAX_RESULT_BYTES = 32 * 2**10


@dataclass(frozen=True)
class FunctionResult:
    """What a call came to: `result` as JSON data, or `error` for the model to explain."""

    name: str
    result: Any = None
    error: str | None = None

    @property
    def content(self) -> str:
        """The text of the `tool` message that tells the model."""
        body = self.result if self.error is None else {"error": self.error}
        return json.dumps(body, ensure_ascii=False)


@dataclass(frozen=True)
class RegisteredFunction:
    """A function with its schema. `hosts` are the only ones it says it calls; `source` is the module it came from."""

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


class FunctionRegistry:
    """Functions by name. Thread-safe; calls block their caller, so make them off the event loop and off the engine."""

    def __init__(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS, max_running: int = MAX_RUNNING) -> None:
        self.timeout_seconds = timeout_seconds
        self._functions: dict[str, RegisteredFunction] = {}
        self._lock = threading.Lock()
        self._running = threading.BoundedSemaphore(max_running)

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
        """Registers a function, as `@register` or `@register(hosts={"example.org"})`; the function stays as it is.

        Raises:
            FunctionDefinitionError: it cannot be called by a model, or the name is taken by another module's function.
        """

        def add(target: AnyFunction) -> AnyFunction:
            self._add(target, name, frozenset(hosts), timeout_seconds)
            return target

        return add if function is None else add(function)

    def unregister_source(self, source: str) -> None:
        """Forgets what a module has registered: it broke later on, or is loaded again."""
        with self._lock:
            self._functions = {name: known for name, known in self._functions.items() if known.source != source}

    @property
    def names(self) -> list[str]:
        """The names of all functions, sorted."""
        return sorted(self._functions)

    def get(self, name: str) -> RegisteredFunction | None:
        """A function by its name."""
        return self._functions.get(name)

    def schemas(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The functions in the form of OpenAI's `tools`, sorted by name; only the named ones if `names` is given."""
        wanted = self.names if names is None else sorted(set(names) & set(self._functions))
        return [self._functions[name].schema for name in wanted]

    def call(
        self, name: str, arguments: str | Mapping[str, Any], context: FunctionContext | None = None
    ) -> FunctionResult:
        """Runs a function with arguments as a model wrote them: JSON text or an object.

        Never raises for what the function, or the model, does wrong: that is the result's `error`.
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
        except Exception as error:  # code of others: whatever it raises is told to the model, and here to its owner
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
        if not self._running.acquire(blocking=False):
            raise FunctionError("Too many functions are running or hanging. Try again later.")
        outcome: Future[Any] = Future()
        # A daemon thread of its own: one that hangs holds up neither other calls nor the end of the process.
        work = threading.Thread(
            target=copy_context().run,
            args=(self._work, registered, keywords, limit, outcome),
            name=f"function-{registered.name}",
            daemon=True,
        )
        try:
            work.start()
        except RuntimeError:  # no more threads
            self._running.release()
            raise
        if not wait([outcome], timeout=limit).done:
            raise _out_of_time(limit)
        return _as_json(outcome.result())

    def _work(
        self, registered: RegisteredFunction, keywords: dict[str, Any], limit: float, outcome: Future[Any]
    ) -> None:
        try:
            answer = registered.function(**keywords)
            outcome.set_result(asyncio.run(_awaited(answer, limit)) if inspect.isawaitable(answer) else answer)
        except Exception as error:  # carried to the caller's thread, where `call` tells them apart
            outcome.set_exception(error)
        except BaseException as error:  # such as SystemExit: a function may not end the server
            outcome.set_exception(FunctionError(f"The function tried to end the program ({type(error).__name__})."))
        finally:
            self._running.release()


def _out_of_time(limit_seconds: float) -> FunctionError:
    return FunctionError(f"The function did not answer within {limit_seconds:g} seconds.")


async def _awaited(answer: Awaitable[Any], limit_seconds: float) -> Any:
    try:
        async with asyncio.timeout(limit_seconds) as deadline:
            return await answer
    except TimeoutError:
        if deadline.expired():
            raise _out_of_time(limit_seconds) from None
        raise  # a time limit of the function's own


def _parse_arguments(arguments: str | Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as an object; no text at all means none, as some models write it."""
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
    """The value as JSON data, small enough for a prompt."""
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
