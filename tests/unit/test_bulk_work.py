"""What other processes see of bulk work, and the priority of its threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.bulk_work import BulkWork
from core.settings import Settings, load_settings


def settings_of(folder: Path, nice: int = 19) -> Settings:
    return load_settings(_env_file=None, data_dir=folder, bulk_nice=nice)


def test_bulk_work_is_seen_as_long_as_any_of_it_runs(tmp_path: Path) -> None:
    bulk = BulkWork(settings_of(tmp_path))
    assert not bulk.is_announced()
    with bulk.announced():
        with BulkWork(settings_of(tmp_path)).announced():
            assert bulk.is_announced()
        assert bulk.is_announced()
    assert not bulk.is_announced()


def test_a_killed_process_announces_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time; from core.bulk_work import BulkWork; from core.settings import load_settings\n"
        "with BulkWork(load_settings(_env_file=None, data_dir=sys.argv[1])).announced():\n"
        "    print('runs', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"runs\n"
        bulk = BulkWork(settings_of(tmp_path))
        assert bulk.is_announced()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not bulk.is_announced()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
@pytest.mark.parametrize(("nice", "policy"), [(5, "SCHED_OTHER"), (19, "SCHED_IDLE")])
def test_only_the_thread_of_bulk_work_has_a_low_priority(tmp_path: Path, nice: int, policy: str) -> None:
    seen: list[tuple[int, int]] = []

    def work() -> None:
        for _ in range(2):
            BulkWork(settings_of(tmp_path, nice)).lower_priority()
            seen.append((os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)))

    own = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(min(own[0] + nice, 19), getattr(os, policy))] * 2
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)) == own


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this scheduling policy")
def test_a_system_that_forbids_the_policy_is_said_and_bulk_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError("not allowed here")

    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    thread = threading.Thread(target=BulkWork(settings_of(tmp_path)).lower_priority)
    thread.start()
    thread.join()
    assert "without SCHED_IDLE: not allowed here" in caplog.text


def test_bulk_work_runs_unseen_where_no_lock_can_be_had(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "bulk.lock").mkdir()
    bulk, ran = BulkWork(settings_of(tmp_path)), False
    with bulk.announced():
        ran = not bulk.is_announced()
    assert ran and "cannot lock" in caplog.text


def test_an_error_of_bulk_work_is_not_taken_for_one_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the disk is full"), BulkWork(settings_of(tmp_path)).announced():
        raise OSError("the disk is full")
