"""Compiles grammars with llguidance: JSON schemas, regular expressions and tool calls that constrain an answer.

Grammars are compiled off the engine's thread and cached; the engine's thread only copies the result and computes masks
(about 0.1 ms per token).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from core.errors import InvalidRequest
from core.json_schema import check_schema
from core.messages import ToolChoice
from inference.grammars import lark
from inference.grammars.call_formats import AnswerOptions, CallFormat, TaggedFormat
from inference.grammars.closing import Ends
from inference.grammars.constraint import Constraint
from inference.grammars.enforcement import candidates
from inference.grammars.grammar_constraint import Compiled, search_thread
from inference.grammars.grammar_errors import GrammarError, check_compiled, warning_of
from inference.grammars.prepared_schema import prepared
from inference.grammars.schema_lengths import check_lengths
from inference.grammars.shortest_end import FIRST_CONTROL, byte_tokenizer
from inference.grammars.tool_grammar import arguments_schema, parameters_field, tool_grammar

#: The limit for all schemas of a request together; the limits for each are in `core.json_schema`.
MAX_GRAMMAR_BYTES = 256 * 2**10
CACHED_GRAMMARS = 64
#: Grammars that compile at the same time; others wait, but none that is in the cache.
COMPILED_AT_ONCE = 2
#: The first end is searched for among answers of at most this many tokens.
FIRST_END_TOKENS = 8192


@dataclass(frozen=True)
class Grammar:
    """A compiled grammar as a factory of the states of sequences."""

    compiled: Compiled
    max_tokens: int | None
    compiler: GrammarCompiler
    #: The schemas of the client that the grammar enforces only in part: of functions by name, of the answer by None.
    unenforced: dict[str | None, dict[str, Any]]

    def __call__(self, used_tokens: int = 0) -> Constraint:
        left = None if self.max_tokens is None else max(0, self.max_tokens - used_tokens)
        return self.compiled.constraint(left, self.compiler.searches)


@dataclass(frozen=True)
class _Part:
    """A schema of a request: of function `name`'s arguments or, with None, of the answer. `param` is its field."""

    name: str | None
    schema: dict[str, Any]
    param: str
    strict: bool


class GrammarCompiler:
    """Compiles grammars for one vocabulary. Safe to use from several threads.

    A grammar that compiles delays only those that are not compiled either.
    """

    def __init__(self, make_tokenizer: Callable[[], LLTokenizer], call_format: CallFormat | None = None) -> None:
        """Create a compiler; `make_tokenizer` takes about a second and is called for the first grammar."""
        self._make_tokenizer = make_tokenizer
        self.call_format: CallFormat = call_format or TaggedFormat()
        self._tokenizer: LLTokenizer | None = None
        self._loading = threading.Lock()
        self._cache: OrderedDict[str, Future[Compiled]] = OrderedDict()
        self._lock = threading.Lock()
        self._compiling = threading.BoundedSemaphore(COMPILED_AT_ONCE)
        #: The thread that searches for the ends of answers.
        self.searches = search_thread()

    def close(self) -> None:
        """Search for no more ends."""
        self.searches.shutdown(wait=False, cancel_futures=True)

    def json_schema(
        self,
        schema: dict[str, Any],
        *,
        param: str = "response_format",
        max_tokens: int | None = None,
        strict: bool = False,
    ) -> Grammar:
        """Compile a grammar of JSON that fits a schema (`{}` is any JSON value, `{"type": "object"}` any object).

        With `max_tokens`, an answer that would be cut off there is completed before.

        Raises:
            InvalidRequest: if the schema is out of bounds or nothing fits it or, with `strict`, if it cannot be
                enforced completely; `param` is the request's field that has the schema.
        """
        check_schema(schema, param)

        def grammar_of(schemas: Sequence[dict[str, Any]]) -> tuple[str, str]:
            return (grammar := f"start: {lark.of_schema(schemas[0])}\n"), grammar

        return self._grammar([_Part(None, schema, param, strict)], grammar_of, param, max_tokens)

    def regex(self, pattern: str, *, param: str = "response_format") -> Grammar:
        """Compile a grammar of answers that match a regular expression as a whole.

        Raises:
            InvalidRequest: if it is not a regular expression.
        """
        grammar = LLMatcher.grammar_from_regex(pattern)
        return self._grammar([], lambda _: (grammar, grammar), param, None)

    def tool_calls(
        self,
        tools: Sequence[dict[str, Any]],
        *,
        mode: ToolChoice = "required",
        parallel: bool = False,
        answer_schema: dict[str, Any] | None = None,
        param: str = "tools",
        max_tokens: int | None = None,
        strict: Collection[str | None] = (),
    ) -> Grammar:
        """Compile a grammar of calls of these functions in the model's format; with `mode` "auto", calls are optional.

        With `max_tokens`, a call that would be cut off there is completed before. The schemas of the functions in
        `strict` must be enforced completely and, if None is among these names, that of the answer.

        Raises:
            InvalidRequest: for the reasons of `json_schema`, or if there is no function.
        """
        form = self.call_format
        parts = [
            _Part(name := tool["function"]["name"], arguments_schema(tool["function"], field), field, name in strict)
            for at, tool in enumerate(tools)
            for field in (parameters_field(param, at),)
        ]
        if answer_schema is not None:
            parts.append(_Part(None, answer_schema, "response_format", None in strict))

        def grammar_of(schemas: Sequence[dict[str, Any]]) -> tuple[str, str]:
            changed = [_with_parameters(tool, schema) for tool, schema in zip(tools, schemas, strict=False)]
            options = AnswerOptions(mode, parallel, None if answer_schema is None else schemas[-1])
            grammar = tool_grammar(changed, options, form, param=param)
            bytewise = grammar
            if form.controls:
                bytewise = tool_grammar(changed, options, form, param=param, first_control=FIRST_CONTROL)
            return grammar, bytewise

        return self._grammar(parts, grammar_of, param, max_tokens)

    def warm_up(self) -> None:
        """Load the vocabulary, which would delay the first grammar by about a second."""
        self._load_tokenizer()

    def _grammar(
        self,
        parts: Sequence[_Part],
        grammar_of: Callable[[Sequence[dict[str, Any]]], tuple[str, str]],
        param: str,
        max_tokens: int | None,
    ) -> Grammar:
        """Compile the grammar of these schemas, each as far as it can be enforced."""
        for part in parts:
            check_lengths(part.schema, part.param)
        try:
            compiled = self._compiled(*grammar_of([prepared(part.schema) for part in parts]), param)
            if not compiled.warnings:
                return Grammar(compiled, max_tokens, self, {})
        except GrammarError as error:
            if not parts:
                raise _refused(param, error.reason) from error
        enforced = [self._enforced(part) for part in parts]
        try:
            compiled = self._compiled(*grammar_of([schema for schema, _ in enforced]), param)
        except GrammarError as error:
            raise _refused(param, error.reason) from error
        unenforced = {part.name: part.schema for part, (_, whole) in zip(parts, enforced, strict=True) if not whole}
        return Grammar(compiled, max_tokens, self, unenforced)

    def _enforced(self, part: _Part) -> tuple[dict[str, Any], bool]:
        """Return the schema to enforce for a part, and whether that says all that its own schema does.

        Raises:
            InvalidRequest: if nothing fits the schema, it is not one or, if it is strict, it cannot be enforced.
        """
        errors: list[GrammarError] = []
        for at, (schema, whole) in enumerate(candidates(part.schema, self._compiles_pattern)):
            try:
                warnings = self._tried(f"start: {lark.of_schema(schema)}\n").get_grammar_warnings()
            except GrammarError as error:
                errors.append(error)
                if at == 1 and error.is_contradiction:
                    break  # with less of the schema, no answer would fit it either
            else:
                if part.strict and (warnings or not whole):
                    raise _refused(part.param, errors[0].reason if errors else warning_of(warnings))
                return schema, whole and not warnings
        raise _refused(part.param, errors[-1].reason if len(errors) < 3 else errors[1].reason)

    def _compiles_pattern(self, pattern: str) -> bool:
        try:
            self._tried(f"start: {lark.of_schema({'type': 'string', 'pattern': pattern})}\n")
        except GrammarError:
            return False
        return True

    def _tried(self, grammar: str) -> LLMatcher:
        """Compile a grammar over bytes, which is fast, and return its state.

        Raises:
            GrammarError: if it does not compile.
        """
        with self._compiling:
            matcher = LLMatcher(byte_tokenizer(), grammar, log_level=0, limits=limits())
            check_compiled(matcher)
        return matcher

    def _compiled(self, grammar: str, bytewise: str, param: str) -> Compiled:
        """Return a grammar from the cache, or compile it, while others that need the same one wait for it.

        Raises:
            GrammarError: if it does not compile.
            InvalidRequest: if it is too large.
        """
        if len(grammar.encode()) > MAX_GRAMMAR_BYTES:
            raise InvalidRequest(
                f"{param}: the schemas together are larger than {MAX_GRAMMAR_BYTES} bytes.", param=param
            )
        with self._lock:
            compiled = self._cache.get(grammar)
            if is_new := compiled is None:
                compiled = self._cache[grammar] = Future[Compiled]()
            self._cache.move_to_end(grammar)
            if len(self._cache) > CACHED_GRAMMARS:
                self._cache.popitem(last=False)
        if is_new:
            try:
                compiled.set_result(self._compile(grammar, bytewise))
            except BaseException as error:  # those that wait for it get the error too, whatever it is
                with self._lock:
                    self._cache.pop(grammar, None)
                compiled.set_exception(error)
        return compiled.result()

    def _compile(self, grammar: str, bytewise: str) -> Compiled:
        tokenizer, form = self._load_tokenizer(), self.call_format
        with self._compiling:
            matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=limits())
            check_compiled(matcher)
            over_bytes = LLMatcher(byte_tokenizer(), bytewise, log_level=0, limits=limits())
            ends = Ends(tokenizer, list(form.controls.values()), form.text_end.encode(), not over_bytes.is_accepting())
            first_end = ends.search(over_bytes, FIRST_END_TOKENS)
        return Compiled(matcher, over_bytes, ends, first_end, matcher.get_grammar_warnings())

    def _load_tokenizer(self) -> LLTokenizer:
        with self._loading:
            if self._tokenizer is None:
                self._tokenizer = self._make_tokenizer()
            return self._tokenizer


def limits() -> LLParserLimits:
    """Return the bounds on the work of compiling a grammar and of each step in it."""
    return LLParserLimits(verbose_errors=False)


def _refused(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: the schema cannot be enforced: {reason}", param=param)


def _with_parameters(tool: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {**tool, "function": {**tool["function"], "parameters": schema}}
