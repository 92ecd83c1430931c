"""What a control group (a container, a systemd unit) lets this process have of memory and processors.

Both versions are read. Each of the groups that contain a group may set a limit, and the least one counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

PROC = Path("/proc/self")
#: cgroup v1 has no word for "no limit", but a number of bytes that no machine has.
UNLIMITED_BYTES = 2**60


def usable_cores() -> int:
    """Return how many processors this process may use: those it may run on, or fewer if its time is limited.

    A part of a processor counts as one.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0))
    return min(allowed, math.ceil(quota) if (quota := _quota()) is not None else allowed)


@lru_cache(maxsize=1)
def _quota() -> float | None:
    return processor_quota()


def processor_quota(proc: Path = PROC) -> float | None:
    """Return the least limit of processor time, in processors, or None if there is none."""
    quotas = (_processor_quota(folder) for folder in cgroup_folders("cpu", proc))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit(proc: Path = PROC) -> int | None:
    """Return the least limit of memory, in bytes, or None if there is none."""
    limits = (_memory_limit(folder) for folder in cgroup_folders("memory", proc))
    return min((limit for limit in limits if limit is not None), default=None)


def memory_room(proc: Path = PROC) -> int | None:
    """Return how many bytes of memory the limits leave, or None if there is none. Cached files count as free."""
    rooms = (_memory_room(folder) for folder in cgroup_folders("memory", proc))
    return min((room for room in rooms if room is not None), default=None)


def cgroup_folders(controller: str, proc: Path = PROC) -> list[Path]:
    """Return the folders of this process' control group and of those that contain it, for `cpu` or `memory`.

    A controller is in a hierarchy of its own (version 1), or in the common one (version 2).
    """
    own, common = _group_paths(proc, controller)
    for mounted, root, is_own in _mounts(proc, controller):
        path = own if is_own else common
        if path is None:
            continue
        # Inside a container, the hierarchy is mounted from the container's group on, or paths begin there.
        inside = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path(path.lstrip("/"))
        folder = mounted / inside
        if not folder.is_dir():
            folder = mounted
        return [folder, *(parent for parent in folder.parents if parent.is_relative_to(mounted))]
    return []


def _group_paths(proc: Path, controller: str) -> tuple[str | None, str | None]:
    """Return the path of this process' group in the controller's own hierarchy, and in the common one."""
    own = common = None
    for line in (_text(proc / "cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = path
        elif number == "0":
            common = path
    return own, common


def _mounts(proc: Path, controller: str) -> Iterator[tuple[Path, str, bool]]:
    """Yield where hierarchies are mounted, the group that is mounted there, and whether it is the controller's own.

    The controller's own hierarchy comes first.
    """
    found = []
    for line in (_text(proc / "mountinfo") or "").splitlines():
        mount, _, system = line.partition(" - ")
        fields, kinds = mount.split(), system.split()
        is_own = kinds[0] == "cgroup" and controller in kinds[-1].split(",")
        if is_own or kinds[0] == "cgroup2":
            found.append((Path(fields[4]), fields[3], is_own))
    yield from sorted(found, key=lambda mount: not mount[2])


def _processor_quota(folder: Path) -> float | None:
    if (text := _text(folder / "cpu.max")) is not None:
        quota, _, period = text.strip().partition(" ")
    else:
        quota, period = ((_text(folder / f"cpu.cfs_{name}_us") or "").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _memory_limit(folder: Path) -> int | None:
    limit = _number(folder, "memory.max", "memory.limit_in_bytes")
    return None if limit is None or limit >= UNLIMITED_BYTES else limit


def _memory_room(folder: Path) -> int | None:
    limit, used = _memory_limit(folder), _number(folder, "memory.current", "memory.usage_in_bytes")
    if limit is None or used is None:
        return limit
    return max(0, limit - used + _cached_bytes(folder))


def _cached_bytes(folder: Path) -> int:
    """Return the size of cached files that nobody uses. Version 1 has a line for a group and one for all inside."""
    lines = (line.partition(" ") for line in (_text(folder / "memory.stat") or "").splitlines())
    found = {name: int(value) for name, _, value in lines if name in ("inactive_file", "total_inactive_file")}
    return max(found.values(), default=0)


def _number(folder: Path, *names: str) -> int | None:
    """Return the number in the first of these files that exists, or None if there is none or it says `max`."""
    text = next((text for name in names if (text := _text(folder / name)) is not None), "").strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
