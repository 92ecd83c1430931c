"""Grammars through llguidance: JSON schemas, regular expressions and tool calls that the answer must obey.

Compiling happens off the engine's thread and is cached; the engine's thread only copies the result and computes masks
(about 0.1 ms a token).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from core.errors import InternalError, InvalidRequest
from inference.sequence import Constraint

MAX_GRAMMAR_BYTES = 64 * 2**10
#: Recursion in compilers is bounded by the stack: deeper schemas are refused, not tried.
MAX_SCHEMA_DEPTH = 32
CACHED_GRAMMARS = 64

ConstraintFactory = Callable[[], Constraint]


class GrammarConstraint:
    """The state of one sequence in a grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def mask(self) -> bytes:
        mask = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise InternalError(f"The grammar cannot go on: {self._matcher.get_error()}")
        return mask

    def accept(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise InternalError(f"The grammar does not allow token {token}: {self._matcher.get_error()}")

    @property
    def is_complete(self) -> bool:
        return self._matcher.is_stopped()


class GrammarCompiler:
    """Compiles grammars for one vocabulary. Safe to use from several threads."""

    def __init__(self, make_tokenizer: Callable[[], LLTokenizer]) -> None:
        """`make_tokenizer` takes about a second and is called with the first grammar."""
        self._make_tokenizer = make_tokenizer
        self._tokenizer: LLTokenizer | None = None
        self._cache: OrderedDict[str, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def json_schema(self, schema: dict[str, Any], *, param: str = "response_format") -> ConstraintFactory:
        """Answers are JSON that fits a schema (`{}` is any JSON value, `{"type": "object"}` any object).

        Raises:
            InvalidRequest: if the schema cannot be enforced; `param` is the field it came in.
        """
        check_schema(schema, param)
        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": "[ \\n]?"})
        except ValueError as error:
            raise InvalidRequest(f"{param}: the schema cannot be enforced: {error}", param=param) from error
        return self._compile(grammar, param)

    def regex(self, pattern: str, *, param: str = "response_format") -> ConstraintFactory:
        """Answers match a regular expression as a whole.

        Raises:
            InvalidRequest: if it is no regular expression.
        """
        return self._compile(LLMatcher.grammar_from_regex(pattern), param)

    def tool_calls(self, tools: Sequence[dict[str, Any]], *, param: str = "tools") -> ConstraintFactory:
        """Answers are one call of one of these functions, in `<tool_call>` tags, with arguments that fit its schema.

        Raises:
            InvalidRequest: if a schema cannot be enforced, or there is no function.
        """
        if not tools:
            raise InvalidRequest("There is no function to call.", param=param)
        calls = [_call_schema(tool["function"], param) for tool in tools]
        rules = "\n".join(f"call_{at}: %json {json.dumps(schema)}" for at, schema in enumerate(calls))
        choice = " | ".join(f"call_{at}" for at in range(len(calls)))
        return self._compile(f'start: "<tool_call>\\n" call "\\n</tool_call>"\ncall: {choice}\n{rules}\n', param)

    def _compile(self, grammar: str, param: str) -> ConstraintFactory:
        if len(grammar.encode()) > MAX_GRAMMAR_BYTES * 2:
            raise InvalidRequest(f"{param}: the grammar is larger than {MAX_GRAMMAR_BYTES} bytes.", param=param)
        with self._lock:
            matcher = self._cache.get(grammar)
            if matcher is None:
                matcher = LLMatcher(self._load_tokenizer(), grammar, log_level=0)
                if matcher.is_error():
                    raise InvalidRequest(f"{param}: cannot be enforced: {matcher.get_error()}", param=param)
                self._cache[grammar] = matcher
                if len(self._cache) > CACHED_GRAMMARS:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(grammar)
        compiled = matcher
        return lambda: GrammarConstraint(compiled.deep_copy())

    def _load_tokenizer(self) -> LLTokenizer:
        if self._tokenizer is None:
            self._tokenizer = self._make_tokenizer()
        return self._tokenizer


def check_schema(schema: Any, param: str) -> None:
    """Whether a schema is small enough to compile.

    Raises:
        InvalidRequest: if it is too large, too deep, or refers to other documents.
    """
    if len(json.dumps(schema)) > MAX_GRAMMAR_BYTES:
        raise InvalidRequest(f"{param}: the schema is larger than {MAX_GRAMMAR_BYTES} bytes.", param=param)
    level = [schema]
    for _ in range(MAX_SCHEMA_DEPTH):
        level = [child for node in level for child in _children(node, param)]
        if not level:
            return
    raise InvalidRequest(f"{param}: the schema is nested more than {MAX_SCHEMA_DEPTH} levels deep.", param=param)


def _children(node: Any, param: str) -> list[Any]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            raise InvalidRequest(f"{param}: $ref {reference!r} leaves the schema; only local ones work.", param=param)
        return list(node.values())
    return list(node) if isinstance(node, list) else []


def _call_schema(function: dict[str, Any], param: str) -> dict[str, Any]:
    arguments = function.get("parameters") or {"type": "object"}
    check_schema(arguments, param)
    definitions = {name: arguments[name] for name in ("$defs", "definitions") if name in arguments}
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
        **definitions,
    }
