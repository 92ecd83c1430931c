"""Limits of control groups, of both versions and of groups that contain others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.cgroups import cgroup_folders, memory_limit, memory_room, processor_quota, usable_cores

V2 = "30 23 0:26 / {mounted} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / {mounted} rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {root} {mounted}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {root} {mounted}/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / {mounted}/unified rw - cgroup2 cgroup2 rw\n"
)
V1_GROUPS = "4:memory:{group}\n1:cpu,cpuacct:{group}\n0::/\n"


class Groups:
    """A folder in place of /proc/self, and one in place of /sys/fs/cgroup."""

    def __init__(self, folder: Path, mounts: str, groups: str, *, root: str = "/") -> None:
        self.proc, self.mounted = folder / "proc", folder / "cgroup"
        self.proc.mkdir()
        (self.proc / "mountinfo").write_text(mounts.format(mounted=self.mounted, root=root))
        (self.proc / "cgroup").write_text(groups)

    def write(self, group: str, files: Mapping[str, str]) -> None:
        folder = self.mounted / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)


@pytest.fixture
def second(tmp_path: Path) -> Groups:
    """Return groups of version 2, of which the process is in `outer/inner`."""
    groups = Groups(tmp_path, V2, "0::/outer/inner\n")
    groups.write("", {})
    groups.write("outer/inner", {})
    return groups


@pytest.fixture
def first(tmp_path: Path) -> Groups:
    """Return groups of version 1, of which the process is in `outer/inner`, beside an empty hierarchy of version 2."""
    groups = Groups(tmp_path, V1, V1_GROUPS.format(group="/outer/inner"))
    for controller in ("cpu", "memory"):
        groups.write(f"{controller}/outer/inner", {})
    groups.write("unified", {})
    return groups


def test_without_limits_there_are_none(first: Groups, tmp_path: Path) -> None:
    first.write("cpu/outer/inner", {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"})
    first.write("memory/outer/inner", {"memory.limit_in_bytes": "9223372036854771712\n"})
    for proc in (first.proc, tmp_path / "missing"):
        assert (processor_quota(proc), memory_limit(proc), memory_room(proc)) == (None, None, None)


def test_version_2_says_max_where_there_is_no_limit(second: Groups) -> None:
    second.write("outer/inner", {"cpu.max": "max 100000\n", "memory.max": "max\n", "memory.current": "5\n"})
    assert (processor_quota(second.proc), memory_limit(second.proc), memory_room(second.proc)) == (None, None, None)


def test_the_least_limit_of_all_groups_around_counts(second: Groups) -> None:
    second.write("outer/inner", {"cpu.max": "400000 100000\n", "memory.max": "3000\n", "memory.current": "100\n"})
    second.write("outer", {"cpu.max": "150000 100000\n", "memory.max": "2000\n", "memory.current": "1900\n"})
    assert processor_quota(second.proc) == 1.5
    assert (memory_limit(second.proc), memory_room(second.proc)) == (2000, 100)


def test_cached_files_that_nobody_uses_are_free_memory(second: Groups) -> None:
    stat = "anon 500\ninactive_file 150\nactive_file 50\n"
    second.write("outer/inner", {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": stat})
    assert memory_room(second.proc) == 450


def test_version_1_has_files_of_other_names(first: Groups) -> None:
    first.write("cpu/outer", {"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"})
    first.write(
        "memory/outer",
        {
            "memory.limit_in_bytes": "1000\n",
            "memory.usage_in_bytes": "700\n",
            "memory.stat": "inactive_file 10\ntotal_inactive_file 150\n",
        },
    )
    assert processor_quota(first.proc) == 0.5
    assert (memory_limit(first.proc), memory_room(first.proc)) == (1000, 450)


@pytest.mark.parametrize(
    ("root", "group"), [("/docker/3c5e", "/docker/3c5e"), ("/", "/docker/3c5e")], ids=["named", "not named"]
)
def test_in_a_container_its_own_group_is_mounted(tmp_path: Path, root: str, group: str) -> None:
    # Given a hierarchy that is mounted from the container's group on, as the mount says or does not
    groups = Groups(tmp_path, V1, V1_GROUPS.format(group=group), root=root)
    groups.write("cpu", {"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n"})
    assert cgroup_folders("cpu", groups.proc) == [groups.mounted / "cpu"]
    assert processor_quota(groups.proc) == 2


def test_this_process_has_processors() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_a_real_group_limits_the_cores_and_the_memory() -> None:
    # Given groups of this machine with a limit, if they can be made
    made, memory = [], 300 * 2**20
    limits = {
        "cpu": ({"cpu.max": "50000 100000"}, {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
        "memory": ({"memory.max": str(memory)}, {"memory.limit_in_bytes": str(memory)}),
    }
    try:
        for controller, versions in limits.items():
            folders = cgroup_folders(controller)
            if not folders:
                pytest.skip("there are no control groups here")
            made.append(folders[0] / f"llm-api-test-{os.getpid()}-{controller}")
            made[-1].mkdir()
            files = next((files for files in versions if all((made[-1] / name).exists() for name in files)), None)
            if files is None:
                pytest.skip(f"the controller {controller} is not enabled for new groups here")
            for name, text in files.items():
                (made[-1] / name).write_text(text)
        # When a process runs in them
        code = "import sys; sys.stdin.readline(); from core.cgroups import *; print(usable_cores(), memory_limit())"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            for folder in made:
                (folder / "cgroup.procs").write_text(str(process.pid))
            said, _ = process.communicate("go\n")
        # Then it knows
        assert said.split() == ["1", str(memory)]
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    finally:
        for folder in made:
            if folder.is_dir():
                folder.rmdir()
