"""Checks finished JSON against a schema that its grammar enforces only in part.

Schema and JSON come from outside, so the work is bounded: each keyword is a step, and regular expressions that may take
more than linear time have a time limit.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from llguidance import LLMatcher

from inference.grammars import lark
from inference.grammars.schema_dialects import descended, modern
from inference.grammars.shortest_end import byte_tokenizer

log = logging.getLogger(__name__)

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]

#: What is found in so many steps is all that is reported, and at most so many problems of so many characters.
MAX_STEPS = 5000
MAX_PROBLEMS = 8
MAX_PROBLEM_CHARACTERS = 200
#: The time in which the texts of an answer are compared with expressions that have look-around or back-references.
#: Other answers of the worker wait meanwhile.
BACKTRACKING_SECONDS = 0.05
#: ECMAScript's reference to a named group, after an even number of backslashes.
_NAMED_REFERENCE = re.compile(r"(?<!\\)((?:\\\\)*)\\k<(\w+)>")
#: Keywords that name schemas, or are answered with Python's regular expressions. Grammars enforce the latter.
_LEFT_OUT = ("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$vocabulary", "patternProperties")
_DEPEND_ON_PATTERNS = ("additionalProperties", "unevaluatedProperties")


def problems_of(schema: dict[str, Any], text: str) -> list[str]:
    """Return what a text violates of a schema, each with its path; nothing if it fits.

    A check that would take too long ends early: then only what was found before is returned.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [f"$: it is not JSON: {error}"]
    found: list[str] = []
    try:
        for problem in _validator(schema).iter_errors(value):
            found.append(f"{problem.json_path}: {problem.message}"[:MAX_PROBLEM_CHARACTERS])
            if len(found) == MAX_PROBLEMS:
                break
    except (_OutOfSteps, RecursionError):
        log.info("an answer was not checked completely against its schema: that would take too long")
    except Exception:  # a schema from outside may break the validator in any way, and the answer is complete
        log.warning("an answer could not be checked completely against its schema", exc_info=True)
    return found


class _OutOfSteps(Exception):
    """The check would take too long."""


def _validator(schema: dict[str, Any]) -> Any:
    checkable = modern(schema)
    has_patterns = "patternProperties" in json.dumps(schema)
    checkable = _checkable(checkable, has_patterns=has_patterns)
    left = [MAX_STEPS]
    keywords = {**Draft202012Validator.VALIDATORS, "pattern": _Patterns().check, "uniqueItems": _unique}
    counted = {name: _counted(keyword, left) for name, keyword in keywords.items()}
    kind = validators.extend(Draft202012Validator, counted)  # type: ignore[no-untyped-call]
    return kind(checkable, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _checkable(schema: Any, *, has_patterns: bool) -> Any:
    if not isinstance(schema, dict):
        return schema
    left = descended(schema, lambda part: _checkable(part, has_patterns=has_patterns))
    for name in (*_LEFT_OUT, *(_DEPEND_ON_PATTERNS if has_patterns else ())):
        left.pop(name, None)
    return left


def _counted(keyword: Keyword, left: list[int]) -> Keyword:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        left[0] -= 1
        if left[0] < 0:
            raise _OutOfSteps
        yield from keyword(validator, value, instance, schema) or ()

    return run


class _Patterns:
    """Compares the texts of an answer with patterns."""

    def __init__(self) -> None:
        self._seconds_left = BACKTRACKING_SECONDS

    def check(self, _validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        """Yield an error if a text does not match."""
        if isinstance(instance, str) and not self._matches(pattern, instance):
            yield ValidationError(f"{instance!r} does not match {pattern!r}")

    def _matches(self, pattern: str, text: str) -> bool:
        """Ask a grammar, which takes linear time, or a library with a time limit if no grammar can say the pattern."""
        rule = lark.of_schema({"type": "string", "pattern": pattern})
        matcher = LLMatcher(byte_tokenizer(), f"start: {rule}\n", log_level=0)
        if matcher.is_error():
            return self._matches_in_time(pattern, text)
        written = list(json.dumps(text, ensure_ascii=False).encode(errors="replace"))
        return bool(matcher.consume_tokens(written) and matcher.is_accepting())

    def _matches_in_time(self, pattern: str, text: str) -> bool:
        if self._seconds_left <= 0:
            raise _OutOfSteps
        began = time.perf_counter()
        try:
            expression = regex.compile(_NAMED_REFERENCE.sub(r"\1(?P=\2)", pattern), regex.ASCII)
            found = expression.search(text, timeout=self._seconds_left, concurrent=True)
        except regex.error:  # it is none for this library, so nothing can be said
            return True
        except TimeoutError:
            raise _OutOfSteps from None
        finally:
            self._seconds_left -= time.perf_counter() - began
        return found is not None


def _unique(_validator: Any, unique: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if unique is True and isinstance(instance, list):
        texts = {json.dumps(one, sort_keys=True) for one in instance}
        if len(texts) < len(instance):
            yield ValidationError("its items are not unique")
