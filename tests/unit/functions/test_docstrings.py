"""Docstrings in the styles of Google, NumPy and Sphinx, written with and without care."""

from __future__ import annotations

import pytest

from inference.functions.docstrings import parse_docstring

NUMPY = """Move the arm.

Parameters
----------
x, y : int
    Where to: in steps.
speed : float, optional
    Steps per second.

Returns
-------
str
    Nothing that matters here.

Notes
-----
It stops at the edge.
"""


def test_a_numpy_docstring_is_read() -> None:
    description, arguments = parse_docstring(NUMPY)
    assert description == "Move the arm. Notes: It stops at the edge."
    assert arguments == {"x": "Where to: in steps.", "y": "Where to: in steps.", "speed": "Steps per second."}


DOCSTRINGS = {
    "no blank line above the heading": "Add.\nArgs:\n    a: One.\nReturns:\n    The sum.",
    "a blank line below the heading": "Add.\n\nArgs:\n\n    a: One.",
    "nothing but arguments": "Args:\n    a: One.",
    "a type in parentheses": "Add.\n\nArgs:\n    a (dict(str, list[int])): One.",
    "a role in the type": "Add.\n\nArgs:\n    a (:class:`~numbers.Number`, *optional*): One.",
    "spaces in the type": "Add.\n\n:param dict[str, int] a: One.",
    "lower-case heading": "Add.\n\nparams:\n  a: One.",
    "keyword arguments": "Add.\n\nKeyword Args:\n    a: One.",
    "a line that names no argument": "Add.\n\nArgs:\n    none of them negative\n    a: One.",
    "examples": "Add.\n\nExample:\n    add(1)\n\nArgs:\n    a: One.\n\nExamples:\n    add(2)",
}


@pytest.mark.parametrize("text", DOCSTRINGS.values(), ids=DOCSTRINGS)
def test_a_docstring_describes_the_function_and_its_arguments(text: str) -> None:
    description, arguments = parse_docstring(text)
    assert description in ("Add.", "")
    assert arguments == {"a": "One."}


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("Add.\n\nArgs:\n    a: One.\n\nOnly on weekdays.", "Add. Only on weekdays."),
        ("Add.\n\nWarning: it costs\n    money.\n\nArgs:\n    a: One.", "Add. Warning: it costs money."),
        ("Add.\n\nImportant:\n    Call it once.\n\nArgs:\n    a: One.", "Add. Important: Call it once."),
        ("Add to :func:`total`: yes.\n\n:param a: One.", "Add to `total`: yes."),
    ],
)
def test_prose_around_the_arguments_belongs_to_the_description(text: str, description: str) -> None:
    assert parse_docstring(text) == (description, {"a": "One."})
