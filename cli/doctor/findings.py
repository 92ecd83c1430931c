"""What a check finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from core.settings import Settings


class Severity(StrEnum):
    """How bad a finding is. Only problems make `llm-api doctor` exit with status 1."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` says what to do, and is empty if nothing has to be done."""

    subject: str
    severity: Severity
    text: str
    remedy: str = ""


#: A check yields nothing if it does not apply. An `LlmApiError` that it raises is reported as a problem.
Check = Callable[[Settings], Iterator[Finding]]


def ok(subject: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(subject, Severity.OK, text)


def note(subject: str, text: str, remedy: str = "") -> Finding:
    """Return a finding that somebody may want to know."""
    return Finding(subject, Severity.NOTE, text, remedy)


def problem(subject: str, text: str, remedy: str) -> Finding:
    """Return a finding that has to be mended."""
    return Finding(subject, Severity.PROBLEM, text, remedy)
