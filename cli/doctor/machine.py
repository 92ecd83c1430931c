"""Checks of this machine: versions, disk, memory, ports, open files, and programs that parsers use."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from cli.doctor.findings import Finding, note, ok, problem
from cli.preflight import require_free_port
from cli.runtime import RuntimeDir, lock_owner
from core.available_memory import available_memory_bytes, memory_limit_bytes
from core.disk import DiskSpace, free_bytes
from core.errors import ConfigurationError
from core.models.library import ModelLibrary
from core.release import release
from core.settings import Settings

PACKAGE = "llm-api"
PYTHON = ((3, 11), (3, 13))
#: As many connections as an API process serves, and what it opens besides.
OPEN_FILES = 4096 + 512
#: Free space, as a multiple of MIN_FREE_BYTES, below which the disk is worth a word.
COMFORTABLE_DISKS = 5
#: A program, and the files that are not read without it.
PROGRAMS = {"tesseract": "scans and text in pictures", "soffice": "old Office files (.doc, .ppt)"}


def versions(_: Settings) -> Iterator[Finding]:
    """Check Python and the installed packages against what this release asks for."""
    running = f"llm-api {release()}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    if not PYTHON[0] <= sys.version_info[:2] < PYTHON[1]:
        yield problem("Versions", f"{running}: Python 3.11 or 3.12 is needed.", "Remove .venv, then `make run`.")
        return
    wrong = list(_wrong_packages())
    if wrong:
        text = f"{len(wrong)} packages are missing or of another version than is needed: {', '.join(wrong[:5])}"
        yield problem("Versions", text, "Run `make run`, which installs them; or remove .venv first.")
    else:
        yield ok("Versions", running)


def _wrong_packages() -> Iterator[str]:
    try:
        needed = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return  # run from a checkout that is not installed, whose packages nobody declared
    for line in needed:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"{requirement.name} (missing)"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} (needed: {requirement.specifier})"


def ports(settings: Settings) -> Iterator[Finding]:
    """Check that the ports are free, unless this stack itself listens there."""
    addresses = f"{settings.host}:{settings.port} and {settings.flower_host}:{settings.flower_port}"
    if lock_owner(RuntimeDir(settings.runtime_dir).up_lock) is not None:
        yield ok("Ports", f"llm-api listens on {addresses}")
        return
    is_free = True
    for names in (("PORT", "HOST", settings.host, settings.port),
                  ("FLOWER_PORT", "FLOWER_HOST", settings.flower_host, settings.flower_port)):  # fmt: skip
        try:
            require_free_port(*names)
        except ConfigurationError as error:
            is_free = False
            yield problem("Ports", error.message, f"Set {names[0]}, or stop the other program.")
    if is_free:
        yield ok("Ports", f"free: {addresses}")


def disk(settings: Settings) -> Iterator[Finding]:
    """Check that the disks have room for new work."""
    for found in (DiskSpace(settings), DiskSpace.of_models(settings)):
        if shortage := found.shortage():
            yield problem("Disk", shortage, "Make room, or set DATA_DIR to a folder of another disk.")
            return
    free = free_bytes(settings.state_dir if settings.state_dir.exists() else settings.state_dir.parent)
    if free is None:
        yield note("Disk", f"The free space of {settings.state_dir} is unknown.")
    elif free < COMFORTABLE_DISKS * settings.min_free_bytes:
        yield note("Disk", f"Only {_gigabytes(free)} are free for {settings.state_dir}.", "Make room soon.")
    else:
        yield ok("Disk", f"{_gigabytes(free)} are free for {settings.state_dir}")


def memory(settings: Settings) -> Iterator[Finding]:
    """Check that the models that are on disk fit into the memory of this machine."""
    total, available = memory_limit_bytes(), available_memory_bytes()
    models = ModelLibrary(settings).models()
    large = [model for model in models if model.needed_bytes(settings) > total]
    for model in large:
        text = (
            f"The model {model.name} needs {_gigabytes(model.needed_bytes(settings))}; there are {_gigabytes(total)}."
        )
        yield problem("Memory", text, "Use a smaller quantisation or model: `llm-api models recommended`.")
    if not large:
        yield ok("Memory", f"{_gigabytes(available)} of {_gigabytes(total)} are available")


def open_files(_: Settings) -> Iterator[Finding]:
    """Check the limit on open files, of which each connection takes one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        text = f"A process may open {hard:,} files, so the API serves only {max(0, hard - 512):,} connections at once."
        yield note("Open files", text, f"Raise the limit to {OPEN_FILES:,} if there are more clients (`ulimit -Hn`).")


def programs(_: Settings) -> Iterator[Finding]:
    """Name the programs without which some files are not read."""
    for program, files in PROGRAMS.items():
        if shutil.which(program) is None:
            yield note("Programs", f"{program} is not installed: {files} are not read.", "docs/install.md names it.")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
