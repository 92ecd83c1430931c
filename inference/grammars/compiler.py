"""Compiles grammars with llguidance: JSON schemas, regular expressions and tool calls that constrain an answer.

Grammars are compiled off the engine's thread and cached; the engine's thread only copies the result and computes masks
(about 0.1 ms per token).
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from core.errors import InternalError, InvalidRequest
from core.json_schema import check_schema
from core.messages import ToolChoice
from inference.grammars import lark
from inference.grammars.call_formats import AnswerOptions, CallFormat, TaggedFormat
from inference.grammars.closing import Closing
from inference.grammars.constraint import Constraint
from inference.grammars.shortest_end import FIRST_CONTROL, byte_tokenizer
from inference.grammars.tool_grammar import arguments_schema, parameters_field, tool_grammar

#: The limit for all schemas of a request together; the limits for each are in `core.json_schema`.
MAX_GRAMMAR_BYTES = 256 * 2**10
CACHED_GRAMMARS = 64

ConstraintFactory = Callable[[], Constraint]


class GrammarConstraint:
    """The state of one sequence in a grammar."""

    def __init__(self, matcher: LLMatcher, closing: Closing | None = None) -> None:
        """Start a sequence; with `closing`, the answer is completed before its tokens run out."""
        self._matcher = matcher
        self._closing = closing

    def mask(self) -> bytes:
        mask: bytes = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise InternalError(f"The grammar cannot go on: {self._matcher.get_error()}")
        forced = self._closing.forced if self._closing else None
        return mask if forced is None else only(mask, forced)

    def refuses(self, token: int) -> bool:
        return self._closing is not None and self._closing.refuses(token)

    def accept(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise InternalError(f"The grammar does not allow token {token}: {self._matcher.get_error()}")
        if self._closing:
            self._closing.take(token)

    @property
    def is_complete(self) -> bool:
        return self._matcher.is_stopped()


@dataclass(frozen=True)
class Compiled:
    """A grammar over the model's vocabulary, and the same grammar over bytes."""

    matcher: LLMatcher
    bytewise: LLMatcher
    tokenizer: LLTokenizer
    #: The format of the calls in it, if any.
    form: CallFormat | None

    def constraint(self, max_tokens: int | None) -> GrammarConstraint:
        """Return a state at the beginning; with `max_tokens`, the answer is completed within that many tokens."""
        closing = None
        if max_tokens:
            controls, text_end = (list(self.form.controls.values()), self.form.text_end) if self.form else ([], "")
            closing = Closing(self.bytewise.deep_copy(), self.tokenizer, max_tokens, controls, text_end.encode())
        return GrammarConstraint(self.matcher.deep_copy(), closing)


class GrammarCompiler:
    """Compiles grammars for one vocabulary. Safe to use from several threads."""

    def __init__(self, make_tokenizer: Callable[[], LLTokenizer], call_format: CallFormat | None = None) -> None:
        """Create a compiler; `make_tokenizer` takes about a second and is called for the first grammar."""
        self._make_tokenizer = make_tokenizer
        self.call_format: CallFormat = call_format or TaggedFormat()
        self._tokenizer: LLTokenizer | None = None
        self._cache: OrderedDict[str, Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def json_schema(
        self, schema: dict[str, Any], *, param: str = "response_format", max_tokens: int | None = None
    ) -> ConstraintFactory:
        """Compile a grammar of JSON that fits a schema (`{}` is any JSON value, `{"type": "object"}` any object).

        With `max_tokens`, an answer that would be cut off there is completed before.

        Raises:
            InvalidRequest: if the schema cannot be enforced; `param` is the request's field that has the schema.
        """
        check_schema(schema, param)
        compiled = self._compile(f"start: {lark.of_schema(schema)}\n", param)
        return lambda: compiled.constraint(max_tokens)

    def regex(self, pattern: str, *, param: str = "response_format") -> ConstraintFactory:
        """Compile a grammar of answers that match a regular expression as a whole.

        Raises:
            InvalidRequest: if it is not a regular expression.
        """
        compiled = self._compile(LLMatcher.grammar_from_regex(pattern), param)
        return lambda: compiled.constraint(None)

    def tool_calls(
        self,
        tools: Sequence[dict[str, Any]],
        *,
        mode: ToolChoice = "required",
        parallel: bool = False,
        answer_schema: dict[str, Any] | None = None,
        param: str = "tools",
        max_tokens: int | None = None,
    ) -> ConstraintFactory:
        """Compile a grammar of calls of these functions in the model's format; with `mode` "auto", calls are optional.

        With `max_tokens`, a call that would be cut off there is completed before.

        Raises:
            InvalidRequest: if a schema cannot be enforced, or there is no function.
        """
        form, options = self.call_format, AnswerOptions(mode, parallel, answer_schema)
        grammar = tool_grammar(tools, options, form, param=param)
        bytewise = grammar
        if form.controls:
            bytewise = tool_grammar(tools, options, form, param=param, first_control=FIRST_CONTROL)
        try:
            compiled = self._compile(grammar, param, bytewise, form)
        except InvalidRequest:
            if answer_schema is not None:
                self.json_schema(answer_schema)
            for at, tool in enumerate(tools):  # compile each schema alone, so that the error names the one at fault
                field = parameters_field(param, at)
                self.json_schema(arguments_schema(tool["function"], field), param=field)
            raise
        return lambda: compiled.constraint(max_tokens)

    def warm_up(self) -> None:
        """Load the vocabulary, which would delay the first grammar by about a second."""
        with self._lock:
            self._load_tokenizer()

    def _compile(
        self, grammar: str, param: str, bytewise: str | None = None, form: CallFormat | None = None
    ) -> Compiled:
        if len(grammar.encode()) > MAX_GRAMMAR_BYTES:
            raise InvalidRequest(
                f"{param}: the schemas together are larger than {MAX_GRAMMAR_BYTES} bytes.", param=param
            )
        with self._lock:
            compiled = self._cache.get(grammar)
            if compiled is None:
                tokenizer = self._load_tokenizer()
                matcher = LLMatcher(tokenizer, grammar, log_level=0)
                _check(matcher, param)
                over_bytes = LLMatcher(byte_tokenizer(), bytewise or grammar, log_level=0)
                compiled = Compiled(matcher, over_bytes, tokenizer, form)
                self._cache[grammar] = compiled
                if len(self._cache) > CACHED_GRAMMARS:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(grammar)
        return compiled

    def _load_tokenizer(self) -> LLTokenizer:
        if self._tokenizer is None:
            self._tokenizer = self._make_tokenizer()
        return self._tokenizer


def only(mask: bytes, token: int) -> bytes:
    """Return a mask that allows only one token."""
    narrowed = bytearray(len(mask))
    narrowed[token >> 3] = 1 << (token & 7)
    return bytes(narrowed)


def _check(matcher: LLMatcher, param: str) -> None:
    """Check that a grammar compiled, and that it allows a first token: a `$ref` to itself compiles but allows none."""
    if matcher.is_error():
        raise InvalidRequest(f"{param}: the schema cannot be enforced: {_reason(matcher)}", param=param)
    beginning = matcher.deep_copy()
    if not any(beginning.compute_bitmask()) or beginning.is_error():
        raise InvalidRequest(f"{param}: the schema cannot be enforced: no text fits it.", param=param)


#: The position in the compiler's grammar, which means nothing to the client.
_POSITION = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
#: Advice for the caller of the compiler, which the client cannot follow.
_ADVICE = re.compile(r"constraints are not supported\. Enable 'coerce_one_of'.*", re.DOTALL)
#: Beginnings of messages that do not name the keyword they refer to, with that keyword.
_KEYWORDS = (
    ("regex parse error", "pattern"),
    ("Pointer", "$ref"),
    ("Unknown format", "format"),
    ("Invalid type", "type"),
)
_QUOTATION = re.compile(r"\n[ \t]*+\d++ \| .*", re.DOTALL)


def _reason(matcher: LLMatcher) -> str:
    """Return the compiler's message about the schema, on one line."""
    reason = _QUOTATION.sub("", _POSITION.sub("", matcher.get_error().strip()))
    reason = _ADVICE.sub("of schemas that may overlap cannot be told apart", reason)
    for said, keyword in _KEYWORDS:
        if reason.startswith(said):
            reason = f"{keyword}: {reason}"
    return " ".join(reason.split())[:500] or "it is not a schema"
