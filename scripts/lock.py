"""Writes requirements.lock: the exact version in this environment of every dependency in pyproject.toml.

    .venv/bin/python scripts/lock.py        after changing dependencies and installing them

pip reads the file as constraints: it fixes versions, and pyproject.toml decides what is installed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Every dependency at its exact version, written by scripts/lock.py.
# pip reads it as constraints: pip install -c requirements.lock -e .
# torch==2.13.0 is also satisfied by its CPU build, 2.13.0+cpu.
"""


def top_level() -> list[str]:
    """Return the requirements in pyproject.toml, with all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """Return the name and version of every installed distribution that these requirements need, directly or not."""
    installed = {canonicalize_name(found.metadata["Name"]): found for found in distributions()}
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    pending = [(Requirement(line), frozenset[str]()) for line in requirements]
    while pending:
        requirement, requested_extras = pending.pop()
        if not _applies(requirement, requested_extras):
            continue
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found = installed[name]
        # A local label such as +cpu names a build, not another version.
        versions[name] = found.version.partition("+")[0]
        pending += _needs(found, extras)
    return versions


def _needs(found: Distribution, extras: frozenset[str]) -> list[tuple[Requirement, frozenset[str]]]:
    return [(Requirement(line), extras) for line in found.requires or []]


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras])


def main() -> None:
    versions = closure(top_level())
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (ROOT / "requirements.lock").write_text(HEADER + "".join(lines))
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()
