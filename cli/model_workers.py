"""The workers of language models that `llm-api up` starts when they are wanted, and stops when they are not."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cli.model_policy import ModelUse, does_not_fit, plan
from cli.programs import Program
from cli.stack import Stack
from cli.supervisor import AT_REST_STATES, STATE_FATAL, ProcessInfo
from core.catalog import Catalog, ModelWish
from core.errors import ConfigurationError, ErrorInfo, LlmApiError
from core.models.files import model_stem
from core.models.library import LibraryModel, ModelLibrary
from core.models.names import model_slug
from core.settings import Settings
from tasks.jobs.heartbeats import Announcer, Info
from tasks.jobs.metric_store import MetricPublisher, MetricStore
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Role

log = logging.getLogger(__name__)

#: How often wishes, jobs and workers are looked at, and how often if there is only one model.
LOOK_SECONDS, LOOK_AT_ONE_SECONDS = 1.0, 5.0
#: After a failed start, requests for the model fail at once for this time. Then the next one starts it again.
FAILURE_SECONDS = 30.0
#: The process of the model that was the default one when the stack was started.
DEFAULT_PROCESS = Role.INFERENCE.value

State = Literal["available", "loading", "loaded", "failed"]


@dataclass
class _Worker:
    """What is known of the worker of one model, running or not."""

    #: What the worker has done (`steps` and `finished` of its engine), when that was last seen to change.
    activity: tuple[object, ...] = ()
    used_at: float = field(default_factory=time.monotonic)
    #: The wishes that have been seen to. Others than these are new.
    wanted_at: float | None = None
    unwanted_at: float | None = None
    is_stopping: bool = False
    failure: str = ""
    failed_at: float = -math.inf
    percent: int | None = None
    announced: dict[str, Any] | None = None


class ModelWorkers:
    """Starts and stops the workers of the models on this host. Only the thread of `llm-api up` calls `tick`.

    Args:
        default: the model whose process, `inference`, is part of the stack from its start.
        memory_bytes: what all models may take together.
        make_program: makes the process of another model.
        report: called with a line about each start and stop.
    """

    def __init__(
        self,
        settings: Settings,
        stack: Stack,
        producer: Producer,
        catalog: Catalog,
        library: ModelLibrary,
        *,
        default: str,
        memory_bytes: int,
        make_program: Callable[[LibraryModel], Program],
        report: Callable[[str], None],
    ) -> None:
        self._settings, self._stack, self._producer, self._catalog = settings, stack, producer, catalog
        self._library, self._started_default, self._memory_bytes = library, default, memory_bytes
        self._make_program, self._report = make_program, report
        self._workers: dict[str, _Worker] = {}
        self._look_at = 0.0
        self._is_first_look = True
        #: Why the last look failed; "": it did not.
        self._fault = ""
        self._shown: list[dict[str, Any]] = []
        name = f"supervisor@{socket.gethostname()}-{stack.runtime.path.name[-6:]}"
        publisher = MetricPublisher(MetricStore(producer.records.redis), Role.SUPERVISOR, name)
        self._announcer = Announcer(producer, Role.SUPERVISOR, name, self._info, publisher)

    def start(self) -> None:
        """Look for the first time, and begin to announce the models."""
        self.tick()
        self._announcer.start()

    def close(self) -> None:
        """Stop announcing. The stack stops the workers."""
        self._announcer.withdraw()

    def tick(self) -> None:
        """Start and stop what has to be, if it is time to look. After a fault, look again the next time."""
        if time.monotonic() < self._look_at:
            return
        models: Sequence[LibraryModel] = []
        try:
            models = self._library.models()
            self._look(models)
            self._fault = ""
        except LlmApiError as error:  # Redis, the catalog or supervisord does not answer
            self._report_fault(error.message)
        except Exception as error:  # no fault here may end the supervision of the other processes
            log.debug("looking at the models failed", exc_info=True)
            self._report_fault(f"{type(error).__name__}: {error}")
        self._look_at = time.monotonic() + (LOOK_AT_ONE_SECONDS if len(models) == 1 else LOOK_SECONDS)

    def _report_fault(self, fault: str) -> None:
        """Report a fault once for as long as it lasts."""
        if fault != self._fault:
            self._report(f"the models cannot be looked after for now: {fault}")
        self._fault = fault

    def _look(self, models: Sequence[LibraryModel]) -> None:
        wishes = {wish.model: wish for wish in self._catalog.model_wishes()}
        if self._is_first_look:
            # What was wished before this start counts no more. Jobs that wait still do.
            self._is_first_look = False
            for slug, wish in wishes.items():
                self._workers[slug] = _Worker(wanted_at=wish.wanted_at, unwanted_at=wish.unwanted_at)
        default = next((slug for slug, wish in wishes.items() if wish.is_default), self._started_default)
        waiting = self._producer.models.waiting_counts(
            [queue for model in models for queue in self._queues(model.slug)]
        )
        self._update_workers(models)
        self._stop_removed({model.slug for model in models})
        uses = []
        for model in models:
            worker = self._worker(model.slug)
            count = sum(waiting[queue] for queue in self._queues(model.slug))
            uses.append(self._use(model, worker, wishes.get(model.slug), count, is_default=model.slug == default))
        uses.sort(key=lambda use: self._wanted_since(wishes.get(use.slug)))
        self._carry_out(models, uses, wishes)
        self._shown = [self._shown_model(model, is_default=model.slug == default) for model in models]
        self._shown += self._unusable({model["slug"] for model in self._shown})

    def _worker(self, slug: str) -> _Worker:
        return self._workers.setdefault(slug, _Worker())

    def _process(self, slug: str) -> str:
        return DEFAULT_PROCESS if slug == self._started_default else f"{DEFAULT_PROCESS}-{slug}"

    def _queues(self, slug: str) -> list[str]:
        """Return the names of the queues whose jobs the worker of a model does."""
        own = [queue.of_model(slug) for queue in (Queue.INFERENCE, Queue.BATCH)]
        return [*own, Queue.INFERENCE, Queue.BATCH] if slug == self._started_default else own

    def _wanted_since(self, wish: ModelWish | None) -> float:
        return wish.wanted_at if wish is not None and wish.wanted_at is not None else math.inf

    def _update_workers(self, models: Iterable[LibraryModel]) -> None:
        """Take over what supervisord and the workers themselves say."""
        announced = {info.get("pid"): info for info in self._producer.workers(Role.INFERENCE).values()}
        loading = self._producer.models.loading_percents([model.slug for model in models])
        for model in models:
            worker = self._worker(model.slug)
            worker.announced = announced.get(self._stack.known_pid(self._process(model.slug)))
            worker.percent = loading.get(model.slug)
        # Asking supervisord costs far more than all of this.
        infos = self._stack.processes() if any(map(self._is_changing, models)) else {}
        for model in models:
            worker = self._worker(model.slug)
            stats = (worker.announced or {}).get("engine", {})
            activity = (stats.get("steps"), stats.get("finished"))
            if activity != worker.activity:
                worker.activity, worker.used_at = activity, time.monotonic()
            self._notice_end(model, worker, infos.get(self._process(model.slug)))

    def _is_changing(self, model: LibraryModel) -> bool:
        """Return whether the process of a model is about to run or to end, as far as is known."""
        worker, is_supposed_to_run = self._worker(model.slug), self._stack.is_supposed_to_run
        return worker.is_stopping or (worker.announced is None and is_supposed_to_run(self._process(model.slug)))

    def _stop_removed(self, known: set[str]) -> None:
        """Stop the processes of models whose files are no longer there."""
        for slug, worker in list(self._workers.items()):
            name = self._process(slug)
            if slug in known or name == DEFAULT_PROCESS or name not in self._stack.names:
                continue
            info = self._stack.processes().get(name)
            if worker.is_stopping and (info is None or info.state in AT_REST_STATES):
                worker.is_stopping = False
                self._stack.remove(name)
            else:
                worker.is_stopping = True
                self._stack.suspend(name)

    def _notice_end(self, model: LibraryModel, worker: _Worker, info: ProcessInfo | None) -> None:
        """Take a process that has ended from the stack. `info` is None if supervisord was not asked, or has none."""
        name = self._process(model.slug)
        if info is not None and info.state == STATE_FATAL and name != DEFAULT_PROCESS:
            worker.failure = self._stack.last_log_line(name) or f"its process ended; its log: {info.log}"
            worker.failed_at = time.monotonic()
            self._report(f"the model {model.name} could not be loaded: {worker.failure}")
        elif not worker.is_stopping:
            has_not_heard = info is not None and info.state in AT_REST_STATES - {STATE_FATAL}
            if has_not_heard and self._stack.is_supposed_to_run(name):
                self._stack.resume(name)
            return
        elif info is not None and info.state not in AT_REST_STATES:
            self._stack.suspend(name)  # again, in case supervisord has not heard it
            return
        worker.is_stopping = False
        if name != DEFAULT_PROCESS:
            self._stack.remove(name)

    def _use(
        self, model: LibraryModel, worker: _Worker, wish: ModelWish | None, waiting: int, *, is_default: bool
    ) -> ModelUse:
        stats = (worker.announced or {}).get("engine", {})
        state: Literal["stopped", "starting", "running", "stopping"] = "stopped"
        if worker.is_stopping:
            state = "stopping"
        elif self._stack.is_supposed_to_run(self._process(model.slug)):
            state = "running" if worker.announced else "starting"
        is_new = wish is not None and wish.wanted_at not in (None, worker.wanted_at)
        return ModelUse(
            model.slug,
            model.needed_bytes(self._settings),
            state,
            is_default=is_default,
            is_wanted=is_new or waiting > 0,
            is_unwanted=wish is not None and wish.unwanted_at not in (None, worker.unwanted_at),
            is_busy=waiting > 0 or stats.get("running", 0) > 0 or stats.get("waiting", 0) > 0,
            idle_seconds=time.monotonic() - worker.used_at,
        )

    def _carry_out(
        self, models: Sequence[LibraryModel], uses: Sequence[ModelUse], wishes: dict[str, ModelWish]
    ) -> None:
        by_slug = {model.slug: model for model in models}
        made = plan(uses, self._memory_bytes, self._settings.model_keep_alive)
        for slug in made.stop:
            self._stop(by_slug[slug], wishes.get(slug))
        for slug in made.start:
            self._start(by_slug[slug], wishes.get(slug))
        for slug, reason in made.refuse.items():
            self._fail_waiting(by_slug[slug], wishes.get(slug), reason)
        for use in uses:
            if use.is_wanted and use.state != "running":
                self._say_loading(by_slug[use.slug])

    def _start(self, model: LibraryModel, wish: ModelWish | None) -> None:
        worker = self._worker(model.slug)
        if time.monotonic() - worker.failed_at < FAILURE_SECONDS:
            self._fail_waiting(model, wish, f"The model could not be loaded: {worker.failure}")
            return
        try:
            if self._process(model.slug) == DEFAULT_PROCESS:
                self._stack.resume(DEFAULT_PROCESS)
            else:
                self._stack.add(self._make_program(model))
        except ConfigurationError as error:  # its path cannot be written in supervisord's configuration
            worker.failure, worker.failed_at = error.message, time.monotonic()
            return
        self._see_to(worker, wish)
        worker.failure, worker.used_at = "", time.monotonic()
        self._report(f"loading the model {model.name}")

    def _stop(self, model: LibraryModel, wish: ModelWish | None) -> None:
        worker = self._worker(model.slug)
        self._see_to(worker, wish)
        worker.is_stopping = True
        self._report(f"unloading the model {model.name}")
        self._stack.suspend(self._process(model.slug))

    def _see_to(self, worker: _Worker, wish: ModelWish | None) -> None:
        if wish is not None:
            worker.wanted_at, worker.unwanted_at = wish.wanted_at, wish.unwanted_at

    def _fail_waiting(self, model: LibraryModel, wish: ModelWish | None, reason: str) -> None:
        self._see_to(self._worker(model.slug), wish)
        # A client would repeat a 5xx, which cannot help.
        error = ErrorInfo(f"{model.name}: {reason}", "invalid_request_error", "model", "model_not_usable", 400)
        for queue in self._queues(model.slug):
            self._producer.models.fail_waiting(queue, error)

    def _say_loading(self, model: LibraryModel) -> None:
        percent = self._worker(model.slug).percent
        for queue in self._queues(model.slug):
            self._producer.models.say_loading(queue, percent)

    def _shown_model(self, model: LibraryModel, *, is_default: bool) -> dict[str, Any]:
        worker = self._worker(model.slug)
        needed = model.needed_bytes(self._settings)
        problem = does_not_fit(needed, self._memory_bytes) if needed > self._memory_bytes else ""
        return {
            "name": model.name,
            "slug": model.slug,
            "state": self._shown_state(model.slug, worker),
            "percent": worker.percent,
            "is_default": is_default,
            "loadable": not problem,
            "problem": problem,
            "failure": worker.failure,
            "context_length": model.context_length,
            "size_bytes": model.bytes,
            "quantization": model.quantisation,
            "parameters": model.parameters,
            "repo": model.repo,
        }

    def _unusable(self, usable: set[str]) -> list[dict[str, Any]]:
        """Return the files that are no usable models, so that requests which name them get the reason."""
        found: dict[str, dict[str, Any]] = {}
        for problem in self._library.problems:
            name = model_stem(problem.path)
            slug = model_slug(name)
            if problem.path.suffix.lower() == ".gguf" and slug not in usable:
                facts = dict.fromkeys(("percent", "context_length", "size_bytes", "quantization", "parameters", "repo"))
                state = {"state": "failed", "is_default": False, "loadable": False, "failure": ""}
                found[slug] = {"name": name, "slug": slug, "problem": problem.message, **state, **facts}
        return list(found.values())

    def _shown_state(self, slug: str, worker: _Worker) -> State:
        if worker.failure:
            return "failed"
        if worker.is_stopping or not self._stack.is_supposed_to_run(self._process(slug)):
            return "available"
        return "loaded" if worker.announced else "loading"

    def _info(self) -> Info:
        return {"pid": os.getpid(), "started_at": _STARTED_AT, "models": self._shown}


_STARTED_AT = time.time()
