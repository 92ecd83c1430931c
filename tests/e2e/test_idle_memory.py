"""The memory of the whole idle stack with the starter models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.memory import Sizes, at_rest
from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check]

#: The children that parse, whose number otherwise follows the cores.
PARSERS = 2
#: Of the sum of resident memory, and of what remains of it where shared memory is counted once. The aim is 1,600 MiB of
#: the former, and 1,561 were measured; libraries for processors with more instructions may need some more.
MOST_RESIDENT_BYTES, MOST_BYTES = 1700 * 2**20, 1400 * 2**20


def test_an_idle_stack_needs_little_memory(tmp_path: Path) -> None:
    found: dict[str, Any] = {}

    def measured(stack: Stack) -> Sizes:
        found.update(stack.status())
        return {"all": found["memory_bytes"]}

    with Stack(tmp_path, {"INGEST_CONCURRENCY": str(PARSERS)}) as stack:
        at_rest(lambda: measured(stack))
    for name, process in {**found["processes"], "all": found}.items():
        megabytes, resident = (process[key] / 2**20 for key in ("memory_bytes", "resident_bytes"))
        print(f"{name:12} {megabytes:6.0f} MB, resident {resident:6.0f} MB")
    assert found["resident_bytes"] <= MOST_RESIDENT_BYTES and found["memory_bytes"] <= MOST_BYTES
