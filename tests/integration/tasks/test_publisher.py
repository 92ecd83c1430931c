"""The publisher of the engine's events: a fault in the events of one job fails that job only."""

from __future__ import annotations

import threading

import pytest

from core import events
from inference.engine.sequence import SequenceDelta, SequenceEvent
from tasks.chat import sequence_runs
from tasks.chat.choices import SequenceRun
from tests.integration.tasks.generating import World, text_of


def test_events_that_cannot_be_rendered_fail_their_own_job_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    translate = sequence_runs.translate
    broken, sound = (world.submit(max_tokens=12) for _ in range(2))

    def translate_most(run: SequenceRun, event: SequenceEvent) -> list[events.AnyEvent]:
        if run.job.id == broken and isinstance(event, SequenceDelta):
            raise ZeroDivisionError
        return translate(run, event)

    monkeypatch.setattr(sequence_runs, "translate", translate_most)
    emitted: dict[str, list[events.AnyEvent]] = {}

    def generate(job_id: str) -> None:
        emitted[job_id] = world.generate(job_id)

    threads = [threading.Thread(target=generate, args=(job_id,)) for job_id in (broken, sound)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    failed, finished = emitted[broken][-1], emitted[sound][-1]
    assert isinstance(failed, events.Failed) and failed.error.status == 500
    assert isinstance(finished, events.Finished) and text_of(emitted[sound])
