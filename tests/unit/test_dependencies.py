"""What the pinned dependencies need."""

from __future__ import annotations

from importlib.metadata import distribution

from packaging.specifiers import SpecifierSet

from scripts.lock import closure, top_level

#: That of Debian 12. pip installs none of the packages if one of them needs a later one.
OLDEST_PYTHON = "3.11.2"


def test_every_package_runs_on_the_python_of_debian_12() -> None:
    needed = {name: distribution(name).metadata.get("Requires-Python") or "" for name in closure(top_level())}
    assert {name: python for name, python in needed.items() if OLDEST_PYTHON not in SpecifierSet(python)} == {}
