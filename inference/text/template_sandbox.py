"""Compiles chat templates so that they can neither reach the program nor run for ever.

A template comes with the model's file, from anybody. Jinja's sandbox keeps it from the program's objects, but not from
loops in loops. Here each render has a time limit, which is checked in every loop and every call, and what it builds has
a size limit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: The processor time of one render. Thousands of messages take a tenth of a second.
RENDER_SECONDS = 5.0
#: The longest text or list that a template may build; no context is that long.
MAX_SIZE = 2**26
#: The bits of the largest number that a template may compute, and the greatest width or count that a filter or a
#: method of a text may be given.
MAX_BITS = 4096
MAX_COUNT = 2**20
#: The time is checked once in so many loops and calls.
_CHECK_EVERY = 64


class TemplateTooExpensive(TemplateError):
    """The template takes too long, or builds too much."""


class _Budget:
    """The processor time that is left to one render."""

    def __init__(self) -> None:
        self._deadline = time.thread_time() + RENDER_SECONDS
        self._ticks = 0

    def tick(self) -> None:
        self._ticks += 1
        if self._ticks % _CHECK_EVERY == 0 and time.thread_time() > self._deadline:
            raise TemplateTooExpensive(f"it does not end within {RENDER_SECONDS:g} s of processor time")


_budget: ContextVar[_Budget] = ContextVar("budget")


class _Generation(Extension):
    """The tag `{% generation %}`, which marks for training what a model wrote: its content is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**"})

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
        _budget.get().tick()
        if isinstance(getattr(function, "__self__", None), str):
            _check_counts(*args, *kwargs.values())  # of `center`, `zfill` and others
        return super().call(context, function, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _check_size(operator, left, right)
        return super().call_binop(context, operator, left, right)


def compile_template(source: str) -> Template:
    """Return a template, to be rendered with `render`.

    Raises:
        TemplateSyntaxError: if it is not a template; the message names the line.
    """
    sandbox = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _Generation],
        optimized=False,  # or constant expressions, which may be endless, would be computed here
    )
    del sandbox.globals["lipsum"]
    sandbox.filters.update({name: _bounded(function) for name, function in sandbox.filters.items()})
    sandbox.filters.update(tojson=to_json, _counted=_counted, _joined=_joined)
    sandbox.globals.update(raise_exception=_raise, strftime_now=_strftime_now)
    try:
        tree = sandbox.parse(source)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.lineno)
        _bound_concatenations(tree)
        return Template.from_code(sandbox, sandbox.compile(tree), sandbox.make_globals(None))
    except RecursionError:
        raise TemplateSyntaxError("it is nested too deeply", 1) from None


def render(template: Template, **names: Any) -> str:
    """Return the text of a compiled template.

    Raises:
        TemplateTooExpensive: if it takes too long, or builds too much.
        Exception: whatever the template raises; it is a program.
    """
    token = _budget.set(_Budget())
    try:
        parts: list[str] = []
        size = 0
        for part in template.generate(**names):
            parts.append(part)
            size += len(part)
            if size > MAX_SIZE:
                raise TemplateTooExpensive(f"its text is longer than {MAX_SIZE} characters")
        return "".join(parts)
    finally:
        _budget.reset(token)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return a value as JSON; Jinja's own `tojson` escapes it for HTML, which models have never seen."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter whose arguments, such as the width of `center` or the number of a `slice`, are bounded."""
    before = 2 if hasattr(function, "jinja_pass_arg") else 1  # the value, and what Jinja passes before it

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _budget.get().tick()
        _check_counts(*args[before:], *kwargs.values())
        return function(*args, **kwargs)

    return bounded


def _check_counts(*arguments: Any) -> None:
    if any(isinstance(count, int) and count > MAX_COUNT for count in arguments):
        raise TemplateTooExpensive(f"a width or a count is greater than {MAX_COUNT}")


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    budget = _budget.get()
    for value in values:
        budget.tick()
        yield value


def _joined(values: list[Any]) -> str:
    texts = [str(value) for value in values]
    if sum(map(len, texts)) > MAX_SIZE:
        raise TemplateTooExpensive(f"a text is longer than {MAX_SIZE} characters")
    return "".join(texts)


def _joining(concatenation: nodes.Concat) -> nodes.Expr:
    line = concatenation.lineno
    return nodes.Filter(nodes.List(concatenation.nodes, lineno=line), "_joined", [], [], None, None, lineno=line)


def _bound_concatenations(node: nodes.Node) -> None:
    """Replace `a ~ b` by a filter that bounds the length of its result."""
    for field, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            _bound_concatenations(value)
            if isinstance(value, nodes.Concat):
                setattr(node, field, _joining(value))
        elif isinstance(value, list):
            for at, item in enumerate(value):
                if isinstance(item, nodes.Node):
                    _bound_concatenations(item)
                    if isinstance(item, nodes.Concat):
                        value[at] = _joining(item)


def _check_size(operator: str, left: Any, right: Any) -> None:
    """Raise TemplateTooExpensive if the result of an operation were too large."""
    sizes = [value if isinstance(value, int) else len(value) for value in (left, right) if _has_size(value)]
    if len(sizes) < 2:
        return
    is_number = isinstance(left, int) and isinstance(right, int)
    if operator == "+":
        too_large = not is_number and sum(sizes) > MAX_SIZE
    elif operator == "*":
        too_large = abs(sizes[0]) * abs(sizes[1]) > MAX_SIZE if not is_number else _bits(left) + _bits(right) > MAX_BITS
    else:
        too_large = is_number and _bits(left) * abs(right) > MAX_BITS
    if too_large:
        raise TemplateTooExpensive(f"the result of {operator} is too large")


def _has_size(value: Any) -> bool:
    return isinstance(value, int | str | list | tuple)


def _bits(number: int) -> int:
    return number.bit_length()


def _raise(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
