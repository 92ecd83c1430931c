"""Runs the sequences of jobs in the engine, and publishes the engine's events as job events.

The engine's thread queues the events of each step. One publisher thread translates them into job events, and appends
those of all jobs in one round trip. The thread of a task submits the sequences of its job and waits for them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from core import events
from core.errors import InternalError, Unavailable
from inference.engine.engine import Engine
from inference.engine.sequence import SequenceEvent, SequenceFinished, SequenceRequest
from tasks.chat.choices import SequenceRun, translate
from tasks.chat.outbox import Outbox
from tasks.jobs.records import Append, JobRecords
from tasks.jobs.redis_client import retrying
from tasks.jobs.runner import JobCancelled

log = logging.getLogger(__name__)


class SequenceRuns:
    """The runs that are in the engine. The engine's events come through `outbox`."""

    def __init__(self, engine: Engine, records: JobRecords, outbox: Outbox) -> None:
        self._engine = engine
        self._records = records
        self._outbox = outbox
        #: By the ids of their sequences.
        self._runs: dict[str, SequenceRun] = {}
        self._publisher = threading.Thread(target=self._publish, name="publisher", daemon=True)
        self._publisher.start()

    def close(self) -> None:
        """Publish the last events of the engine, which has been closed."""
        self._outbox.close()
        self._publisher.join(timeout=5)

    def run(self, run: SequenceRun, sequences: Sequence[SequenceRequest], at_once: int | None = None) -> None:
        """Submit sequences, at most `at_once` at a time, and wait until all choices of the run are finished.

        Raises:
            JobCancelled: the job was cancelled, or another worker has it.
            LlmApiError: a sequence failed, or its events could not be published.
        """
        if run.has_ended:
            return
        for sequence in sequences:
            self._runs[sequence.sequence_id] = run
        unfinished = len(run.sequence_ids)
        submitted = 0
        try:
            while not run.done.is_set():
                run.progress.clear()
                finished = unfinished - len(run.sequence_ids)
                for sequence in sequences[submitted : finished + (at_once or len(sequences))]:
                    self._engine.submit(sequence)
                    submitted += 1
                run.job.check()
                run.progress.wait()
        finally:
            self.abort(run)
            for sequence in sequences:
                self._runs.pop(sequence.sequence_id, None)
        if run.error:
            raise run.error
        if run.aborted is not None or run.job.replaced:
            raise JobCancelled(run.aborted or "cancelled")

    def abort(self, run: SequenceRun) -> None:
        """Abort all sequences of a run that have not ended."""
        for sequence_id in run.sequence_ids:
            self._engine.abort(sequence_id, "cancelled")

    # The publisher thread

    def _publish(self) -> None:
        while (portion := self._outbox.take()) is not None:
            try:
                self._publish_events(portion)
            except Exception:  # jobs whose events cannot be published must end, not hang
                log.exception("events could not be published")
                self._fail_runs(portion)

    def _publish_events(self, portion: Sequence[SequenceEvent]) -> None:
        found: dict[int, tuple[SequenceRun, list[SequenceEvent]]] = {}
        for event in portion:
            run = self._runs.get(event.sequence_id)
            if run is not None:
                found.setdefault(id(run), (run, []))[1].append(event)
        appends = [
            (run, append) for run, events_of_run in found.values() if (append := self._append(run, events_of_run))
        ]
        if appends:
            outcomes = retrying(self._records.append_many, [append for _, append in appends])
            for (run, _), outcome in zip(appends, outcomes, strict=True):
                run.job.update_from(outcome)
                if run.job.replaced or run.job.cancelled:
                    self.abort(run)
        for run, events_of_run in found.values():
            if run.has_ended:
                run.done.set()
            if run.has_ended or any(isinstance(event, SequenceFinished) for event in events_of_run):
                run.progress.set()

    def _append(self, run: SequenceRun, engine_events: Sequence[SequenceEvent]) -> Append | None:
        """Return the engine's events as job events to append, or None if there are none or the run has failed.

        A fault fails this run only, as its events would leave a gap in the answer.
        """
        if run.error is not None:
            return None
        try:
            items = [item for event in engine_events for item in translate(run, event)]
            if not items:
                return None
            state = "running" if any(isinstance(item, events.Started) for item in items) else ""
            append = run.job.as_append(*items, state=state)
            _ = append.payloads
            return append
        except Exception:  # translating and encoding may fail in any way
            log.exception("the events of job %s cannot be written", run.job.id)
            run.error = InternalError("A part of the answer could not be written; the server's log says why.")
            self.abort(run)
            return None

    def _fail_runs(self, portion: Sequence[SequenceEvent]) -> None:
        for run in {id(found): found for event in portion if (found := self._runs.get(event.sequence_id))}.values():
            run.error = run.error or Unavailable("The answer could not be delivered.", code="queue_unavailable")
            run.done.set()
            run.progress.set()
