"""The memory and the processor time of this process and its children. Memory is known where there is a `/proc`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PROCESSES = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessMemory(Collector):
    """Collects what this process takes. Pages that it shares with its children count once for each of them."""

    def collect(self) -> Iterator[Metric]:
        """Yield the resident memory of this process and of its children, and the processor time of this process."""
        own = resident_bytes(os.getpid())
        if own is not None:
            name = "llm_api_process_resident_memory_bytes"
            yield GaugeMetricFamily(name, "Resident memory of a process.", value=own)
            name = "llm_api_process_children_resident_memory_bytes"
            of_children = sum(resident_bytes(child) or 0 for child in child_ids())
            yield GaugeMetricFamily(name, "Resident memory of its children, which parse.", value=of_children)
        times = os.times()
        yield CounterMetricFamily(
            "llm_api_process_cpu_seconds",
            "Processor time of a process, and of its children that have ended.",
            value=times.user + times.system + times.children_user + times.children_system,
        )


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process, or None if the system does not tell or the process is gone."""
    try:
        return int((_PROCESSES / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return None


def child_ids() -> list[int]:
    """Return the ids of the processes that the main thread of this process has started."""
    pid = str(os.getpid())
    try:
        return [int(child) for child in (_PROCESSES / pid / "task" / pid / "children").read_text().split()]
    except OSError:
        return []
