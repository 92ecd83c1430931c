"""Opens the engine with llama.cpp and the model that the settings name."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from core.bulk_work import BulkWork
from core.models.library import OLD_STARTER_COPY
from core.settings import Settings
from core.threads import run_on_temporary_thread
from inference.engine.backend import warm_up
from inference.engine.bulk_share import BulkShare, others_that_run
from inference.engine.engine import Engine
from inference.engine.llama_backend import LlamaBackend, faster_starter
from inference.engine.model_files import resolve_model
from inference.engine.sequence import Sink
from inference.engine.thread_share import ThreadShare

#: Called with a model's name and the share of it that has been loaded.
OnProgress = Callable[[str, float], None]


def _starter_folder(settings: Settings) -> Path:
    """Return the folder of the converted starter. Move there what an earlier release has left among the models."""
    folder, old = settings.state_dir / "starter", settings.state_dir / OLD_STARTER_COPY
    with suppress(OSError):  # there is none, or another worker moves it; it can be made anew
        if old.exists():
            folder.mkdir(exist_ok=True)
            old.replace(folder / old.name)
    return folder


def open_engine(settings: Settings, sink: Sink, on_progress: OnProgress = lambda _name, _share: None) -> Engine:
    """Find and load the model, warm it up and start the engine.

    While it is loaded, `on_progress` is called with its name and the share that has been loaded, from 0 to 1.

    Raises:
        ConfigurationError: if there is no model, or it cannot be loaded.
    """
    file = resolve_model(settings)
    if file.is_starter:
        file = faster_starter(file, _starter_folder(settings))
    share = ThreadShare(settings.state_dir / "engines", settings.inference_threads or settings.cores)
    backend = LlamaBackend(file, settings, share.threads, partial(on_progress, file.name))
    run_on_temporary_thread(lambda: warm_up(backend))
    backend.release_untouched()
    bulk, threads = BulkWork(settings), settings.inference_threads or settings.cores

    def bulk_is_short_of_time() -> bool:
        return bulk.is_announced() and (others_that_run() or 0) + threads > (os.cpu_count() or 1)

    engine = Engine(
        backend,
        slots=backend.sequences,
        default_max_tokens=settings.max_tokens,
        stream_gap_seconds=settings.stream_gap_ms / 1000,
        bulk_share=BulkShare(settings.bulk_share, bulk_is_short_of_time),
        sink=sink,
    )
    engine.start()
    return engine
