"""Runs all checks and prints what they find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.text import Text

from cli.doctor import machine, services, work
from cli.doctor.findings import Check, Finding, Severity, problem
from cli.screen import Screen
from core.errors import LlmApiError
from core.settings import Settings

#: The checks by what they look at, in the order of the report.
CHECKS: dict[str, Check] = {
    "Versions": machine.versions,
    "Ports": machine.ports,
    "Access": services.access,
    "Disk": machine.disk,
    "Memory": machine.memory,
    "Open files": machine.open_files,
    "Programs": machine.programs,
    "Redis": services.redis_server,
    "Catalog": services.catalog,
    "Vector store": services.vector_store,
    "Folders": work.folders,
    "Models": work.models,
    "Workers": work.workers,
    "Documents": work.documents,
}
_STYLES = {Severity.OK: ("ok", "green"), Severity.NOTE: ("note", "yellow"), Severity.PROBLEM: ("PROBLEM", "bold red")}


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield the findings of all checks. A check that cannot be made is a problem itself."""
    for subject, check in CHECKS.items():
        try:
            yield from check(settings)
        except LlmApiError as error:
            yield problem(subject, error.message, "Correct what the message names.")


def doctor(settings: Settings, screen: Screen, *, as_json: bool) -> int:
    """Print what is wrong and how it is mended. Return 1 if there is a problem, else 0."""
    findings = list(examine(settings))
    problems = sum(finding.severity is Severity.PROBLEM for finding in findings)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
        return 1 if problems else 0
    for finding in findings:
        word, style = _STYLES[finding.severity]
        screen.print(Text.assemble((f"{word:<8}", style), f"{finding.subject:<13} {finding.text}"))
        if finding.remedy:
            screen.print(f"{'':<22}→ {finding.remedy}")
    screen.print("", "Nothing is wrong." if not problems else f"Problems: {problems}. → says how to mend each.")
    return 1 if problems else 0
