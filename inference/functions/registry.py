"""The registry of functions that the server runs. Any error in a call becomes an answer for the model."""

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
#: The most calls that run at once, including those past their time limit: Python cannot stop their threads.
MAX_RUNNING = 64
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


class FunctionRegistry:
    """Functions by name. Thread-safe; a call blocks its caller, so call from neither the event loop nor the engine."""

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
        if not self._running.acquire(blocking=False):
            raise FunctionError("Too many functions are running or hanging. Try again later.")
        outcome: Future[Any] = Future()
        # Each call has its own daemon thread, so that a hanging one delays neither other calls nor the process's exit.
        work = threading.Thread(
            target=copy_context().run,
            args=(self._work, registered, keywords, limit, outcome),
            name=f"function-{registered.name}",
            daemon=True,
        )
        try:
            work.start()
        except RuntimeError:  # the system allows no more threads
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
        except Exception as error:  # re-raised in the caller's thread, where `call` handles it
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
