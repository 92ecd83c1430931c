"""Parsing ends as soon as nobody wants its document any more."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.catalog import Catalog, Claim, DocumentState
from core.errors import DocumentRejected
from tasks.documents.abandonment import REPORTS_BEFORE_KILL, Abandoned, Abandonment
from tasks.jobs.producer import Producer
from tests.integration.tasks.indexing import World, make_empty_store

Act = Callable[[World, str], Any]


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, producer: Producer) -> Iterator[World]:
    with World.opened(tmp_path, catalog, producer, make_empty_store(tmp_path / "empty")) as world:
        yield world


def cancel(world: World, document_id: str) -> None:
    world.catalog.cancel_document(document_id)


def delete(world: World, document_id: str) -> None:
    world.catalog.delete_document(document_id)


@pytest.mark.parametrize("act", [cancel, delete])
def test_parsing_ends_when_its_document_is_cancelled_or_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch, act: Act
) -> None:
    first, second = (world.add(f"Text number {number}.", key=str(number)) for number in range(2))
    begun: list[str] = []

    def endless(_source: object, filename: str, *_: Any, **__: Any) -> Any:
        begun.append(filename)
        if len(begun) > 1:
            raise DocumentRejected("The second one is not what is tested.")
        act(world, first.id)
        never, deadline = threading.Event(), time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                never.wait(0.01)
            except Exception:  # as parsers do with a broken part of a file
                continue
        raise AssertionError("parsing was not interrupted")

    monkeypatch.setattr("tasks.documents.parsing.parse_to_chunks", endless)
    world.parsing.parse(first.id, second.id)
    assert world.state(first) in (DocumentState.CANCELLED, DocumentState.DELETING)
    assert not list(world.blobs.staging.iterdir())
    world.parsing.parse(second.id)
    assert world.state(second) is DocumentState.FAILED, "the process reads the next document"


def test_a_process_that_cannot_be_interrupted_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    document = world.add("The harbour opens at dawn.")
    claim, other = Claim(document, 1), Claim(document, 2)
    sent: list[int] = []
    monkeypatch.setattr("tasks.documents.abandonment.signal.pthread_kill", lambda _thread, number: sent.append(number))
    monkeypatch.setattr("tasks.documents.abandonment.os.kill", lambda _process, number: sent.append(number))
    abandonment = Abandonment()
    with abandonment.possible(claim):
        abandonment.report_lost(other)
        assert not sent, "it is not what is being parsed"
        for _ in range(REPORTS_BEFORE_KILL + 1):
            abandonment.report_lost(claim)
    assert sent.count(signal.SIGKILL) == 1
    sent.clear()
    abandonment.report_lost(claim)
    assert not sent


def test_a_late_signal_interrupts_nothing(world: World) -> None:
    abandonment = Abandonment()
    with abandonment.possible(Claim(world.add("The harbour opens at dawn."), 1)):
        pass
    signal.raise_signal(signal.SIGUSR2)
    with pytest.raises(Abandoned), abandonment.possible(Claim(world.add("Another text."), 1)):
        signal.raise_signal(signal.SIGUSR2)
