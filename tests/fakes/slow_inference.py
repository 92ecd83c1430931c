"""A worker whose engine takes 50 ms for each step, whatever it decodes, and no processor time worth a word.

    python -m tests.fakes.slow_inference worker -Q inference,batch …

With it, two hosts on one machine are twice as fast as one, as two machines would be.
"""

from __future__ import annotations

import time
from typing import Any

import tasks.chat.generation as generation
from core.settings import Settings
from inference.engine.engine import Engine
from inference.engine.opening import open_engine
from tasks.__main__ import main

STEP_SECONDS = 0.05


def open_slow_engine(settings: Settings, *arguments: Any) -> Engine:
    """Open the engine of the settings, and let each of its steps take STEP_SECONDS at least."""
    engine = open_engine(settings, *arguments)
    backend: Any = engine._backend
    decode = backend.decode

    def slow_decode(batch: Any) -> Any:
        began = time.monotonic()
        status = decode(batch)
        time.sleep(max(0.0, STEP_SECONDS - (time.monotonic() - began)))
        return status

    backend.decode = slow_decode
    return engine


if __name__ == "__main__":
    generation.open_engine = open_slow_engine
    main()
