"""Grammars through llguidance: JSON schemas, regular expressions and tool calls that the answer must obey.

Compiling happens off the engine's thread and is cached; the engine's thread only copies the result and computes masks
(about 0.1 ms a token).
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
from inference.grammars import lark
from inference.grammars.call_formats import Asked, CallFormat, TaggedFormat, ToolMode
from inference.grammars.closing import Closing
from inference.grammars.constraint import Constraint
from inference.grammars.shortest_end import FIRST_CONTROL, byte_tokenizer
from inference.grammars.tool_grammar import arguments_schema, parameters_field, tool_grammar

#: Of all schemas of a request together; the limits of each are in `core.json_schema`.
MAX_GRAMMAR_BYTES = 256 * 2**10
CACHED_GRAMMARS = 64

ConstraintFactory = Callable[[], Constraint]


class GrammarConstraint:
    """The state of one sequence in a grammar."""

    def __init__(self, matcher: LLMatcher, closing: Closing | None = None) -> None:
        """With `closing`, the answer comes to its end before its tokens do."""
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
    """A grammar over the model's vocabulary, and over bytes."""

    matcher: LLMatcher
    bytewise: LLMatcher
    tokenizer: LLTokenizer
    #: The form of the calls in it.
    form: CallFormat | None

    def constraint(self, max_tokens: int | None) -> GrammarConstraint:
        """A fresh state; with `max_tokens` its end fits into these."""
        closing = None
        if max_tokens:
            controls, text_end = (list(self.form.controls.values()), self.form.text_end) if self.form else ([], "")
            closing = Closing(self.bytewise.deep_copy(), self.tokenizer, max_tokens, controls, text_end.encode())
        return GrammarConstraint(self.matcher.deep_copy(), closing)


class GrammarCompiler:
    """Compiles grammars for one vocabulary. Safe to use from several threads."""

    def __init__(self, make_tokenizer: Callable[[], LLTokenizer], call_format: CallFormat | None = None) -> None:
        """`make_tokenizer` takes about a second and is called with the first grammar."""
        self._make_tokenizer = make_tokenizer
        self.call_format: CallFormat = call_format or TaggedFormat()
        self._tokenizer: LLTokenizer | None = None
        self._cache: OrderedDict[str, Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def json_schema(
        self, schema: dict[str, Any], *, param: str = "response_format", max_tokens: int | None = None
    ) -> ConstraintFactory:
        """Answers are JSON that fits a schema (`{}` is any JSON value, `{"type": "object"}` any object).

        With `max_tokens`, an answer that would be cut off there is brought to its end before.

        Raises:
            InvalidRequest: if the schema cannot be enforced; `param` is the field it came in.
        """
        check_schema(schema, param)
        compiled = self._compile(f"start: {lark.of_schema(schema)}\n", param)
        return lambda: compiled.constraint(max_tokens)

    def regex(self, pattern: str, *, param: str = "response_format") -> ConstraintFactory:
        """Answers match a regular expression as a whole.

        Raises:
            InvalidRequest: if it is no regular expression.
        """
        compiled = self._compile(LLMatcher.grammar_from_regex(pattern), param)
        return lambda: compiled.constraint(None)

    def tool_calls(
        self,
        tools: Sequence[dict[str, Any]],
        *,
        mode: ToolMode = "required",
        parallel: bool = False,
        answer_schema: dict[str, Any] | None = None,
        param: str = "tools",
        max_tokens: int | None = None,
    ) -> ConstraintFactory:
        """Answers are calls of these functions in the model's form, or may become such (`mode` "auto").

        With `max_tokens`, a call that would be cut off there is brought to its end before.

        Raises:
            InvalidRequest: if a schema cannot be enforced, or there is no function.
        """
        form, asked = self.call_format, Asked(mode, parallel, answer_schema)
        grammar = tool_grammar(tools, asked, form, param=param)
        bytewise = grammar
        if form.controls:
            bytewise = tool_grammar(tools, asked, form, param=param, first_control=FIRST_CONTROL)
        try:
            compiled = self._compile(grammar, param, bytewise, form)
        except InvalidRequest:
            if answer_schema is not None:
                self.json_schema(answer_schema)
            for at, tool in enumerate(tools):  # alone, the schema at fault can be named
                field = parameters_field(param, at)
                self.json_schema(arguments_schema(tool["function"], field), param=field)
            raise
        return lambda: compiled.constraint(max_tokens)

    def warm_up(self) -> None:
        """Loads the vocabulary, which would delay the first grammar by about a second."""
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
    """A mask that allows one token and no other."""
    narrowed = bytearray(len(mask))
    narrowed[token >> 3] = 1 << (token & 7)
    return bytes(narrowed)


def _check(matcher: LLMatcher, param: str) -> None:
    """Whether a compiled grammar has a beginning: some (a `$ref` to itself) compile and allow no token at all."""
    if matcher.is_error():
        raise InvalidRequest(f"{param}: the schema cannot be enforced: {_reason(matcher)}", param=param)
    beginning = matcher.deep_copy()
    if not any(beginning.compute_bitmask()) or beginning.is_error():
        raise InvalidRequest(f"{param}: the schema cannot be enforced: no text fits it.", param=param)


#: What the compiler says of its own grammar rather than of the client's schema.
_PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
#: The compiler's advice to its caller, who is not the client.
_ADVICE = re.compile(r"constraints are not supported\. Enable 'coerce_one_of'.*", re.DOTALL)
#: Where the compiler does not name the keyword that it speaks of.
_KEYWORDS = (
    ("regex parse error", "pattern"),
    ("Pointer", "$ref"),
    ("Unknown format", "format"),
    ("Invalid type", "type"),
)
_QUOTATION = re.compile(r"\n\s*\d+ \| .*", re.DOTALL)


def _reason(matcher: LLMatcher) -> str:
    """What the compiler has to say of the schema, on one line."""
    reason = _QUOTATION.sub("", _PLACE.sub("", matcher.get_error().strip()))
    reason = _ADVICE.sub("of schemas that may overlap cannot be told apart", reason)
    for said, keyword in _KEYWORDS:
        if reason.startswith(said):
            reason = f"{keyword}: {reason}"
    return " ".join(reason.split())[:500] or "it is no schema"
