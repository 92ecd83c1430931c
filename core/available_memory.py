"""The memory that this process may use: the machine's, or less if a control group (a container) limits it."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP_ROOT = Path("/sys/fs/cgroup")


def memory_limit_bytes() -> int:
    """Return the memory that this process may use in all."""
    limits = (_number(folder / "memory.max") for folder in _cgroups())
    return min([int(psutil.virtual_memory().total), *(limit for limit in limits if limit is not None)])


def available_memory_bytes() -> int:
    """Return the memory that this process may still take without pushing out what others use."""
    rooms = (cgroup_room_bytes(folder) for folder in _cgroups())
    return min([int(psutil.virtual_memory().available), *(room for room in rooms if room is not None)])


def cgroup_room_bytes(folder: Path) -> int | None:
    """Return what is left of a control group's memory, or None if it has no limit. Cached files count as free."""
    limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
    if limit is None or used is None:
        return limit
    return max(0, limit - used + _cached_bytes(folder))


def _cached_bytes(folder: Path) -> int:
    for line in (_text(folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def _cgroups() -> list[Path]:
    """Return the folders of this process' control group and of those that contain it (cgroup v2)."""
    lines = (_text(Path("/proc/self/cgroup")) or "").splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = CGROUP_ROOT / own
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(CGROUP_ROOT))]


def _number(path: Path) -> int | None:
    """Return the number in a file, or None if there is no such file or it says `max`."""
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
