"""Changes of documents, jobs and models as they happen, for any number of clients of this process.

One task follows the stream of hints while there are clients. What has changed is read from the catalog once for all of
them, some at a time, and each client gets what it may see. A client that reads too slowly gets a `reset` in place of
what it has missed: it then reads its lists again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.callers import Caller
from api.collection_wires import with_coverage
from api.dependencies import ChangeReader, Services, in_thread
from api.document_intake import document_wire
from api.job_calls import job_wire
from api.known_models import known_models, model_wire
from api.progress import Liveness
from api.sse import event_frame
from core.catalog import Document, DocumentState, JobState, JobSummary, is_job_seen
from core.errors import LlmApiError, NotFound, Unavailable
from tasks.jobs.changes import Hints

log = logging.getLogger(__name__)

TOPICS = ("documents", "jobs", "models")
#: Changes are gathered for this long, and for longer while there are more than one round reads.
GATHER_SECONDS, BUSY_SECONDS = 0.1, 0.5
#: Documents or jobs that a round reads. With BUSY_SECONDS, this bounds what bulk indexing costs here and its clients.
ROUND_ITEMS = 100
#: If more wait, clients read their lists again, at most once in RESET_SECONDS.
MAX_WAITING, RESET_SECONDS = 2000, 2.0
#: Collections and queues change with each of their documents and jobs, and are read at most this often.
SUMMARY_SECONDS, QUEUE_SECONDS = 1.0, 2.0
MAX_COLLECTIONS = 20
#: Models are compared this often even without a hint, since a worker that is killed gives none.
MODELS_SECONDS = 10.0
#: Frames that wait for a client, and objects that are sent to one that comes back.
MAX_FRAMES, MAX_MISSED = 256, 300
RETRY_SECONDS = 1.0
_GONE = (DocumentState.DELETING, DocumentState.DELETED)


@dataclass(frozen=True)
class Subscription:
    """What a client wants to hear of."""

    topics: frozenset[str] = frozenset(TOPICS)
    #: Only documents of this collection, only this document, only this job.
    collection: str | None = None
    document: str | None = None
    job: str | None = None


@dataclass(frozen=True)
class Event:
    """An event, and who may see it."""

    topic: str
    name: str
    data: Any
    is_for: Callable[[Caller, Subscription], bool]


@dataclass(eq=False)
class LiveClient:
    """A client's frames. `caller` may be replaced while it listens."""

    caller: Caller
    subscription: Subscription
    frames: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(MAX_FRAMES))

    def offer(self, event: Event, frame: bytes) -> None:
        """Queue the frame of an event, if the client may see it and wants to. If the queue is full, reset the client.

        The frame is that of all clients, so that a client costs what its queue holds, and no more than MAX_FRAMES.
        """
        if not self.wants(event):
            return
        try:
            self.frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.reset(TOPICS)

    async def next_frames(self) -> bytes:
        """Wait for a frame, and return all that wait as one piece, which costs as much to send as one of them."""
        frames = [await self.frames.get()]
        while not self.frames.empty():
            frames.append(self.frames.get_nowait())
        return b"".join(frames)

    def wants(self, event: Event) -> bool:
        """Return whether the client may see an event, and wants to."""
        return event.topic in self.subscription.topics and event.is_for(self.caller, self.subscription)

    def reset(self, topics: Iterable[str]) -> None:
        """Tell the client in place of all that waits for it that it has missed something of these topics."""
        while not self.frames.empty():
            self.frames.get_nowait()
        self.frames.put_nowait(reset_frame(self.subscription, topics))


def reset_frame(subscription: Subscription, topics: Iterable[str]) -> bytes:
    """Return the frame that says that something was missed."""
    missed = sorted(subscription.topics.intersection(topics))
    return b"event: reset\ndata: " + msgspec.json.encode({"topics": missed}) + b"\n\n"


class Live:
    """Follows the changes for the clients of this process."""

    def __init__(self, services: Services, changes: ChangeReader) -> None:
        self._services = services
        self._changes = changes
        self._clients: set[LiveClient] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting = Hints()
        self._has_waiting = asyncio.Event()
        #: Up to where hints have been read, and up to where what they say has been sent.
        self._read_to = self._sent_to = "0-0"
        self._liveness = Liveness(services)
        self._collections: dict[str, None] = {}
        self._queue_changed = self._is_working = False
        self._models: dict[str, bytes] | None = None
        self._positions: dict[str, Any] = {}
        self._due: dict[str, float] = {}

    @asynccontextmanager
    async def client(self, caller: Caller, subscription: Subscription) -> AsyncIterator[LiveClient]:
        """Register a client while it listens.

        Raises:
            Unavailable: Redis does not answer.
        """
        if not self._tasks:
            self._read_to = self._sent_to = await self._changes.position()
        if not self._tasks:  # another client may have come meanwhile
            self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._send_changes())]
        client = LiveClient(caller, subscription)
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)
            if not self._clients:
                await self.close()

    @property
    def position(self) -> str:
        """The id up to which clients have been sent everything."""
        return self._sent_to

    async def close(self) -> None:
        """Stop following."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        # Before the first await, as a new client may come meanwhile.
        self._waiting, self._models, self._collections = Hints(), None, {}
        await asyncio.gather(*tasks, return_exceptions=True)

    async def missed(self, client: LiveClient, last_event_id: str) -> list[bytes]:
        """Return the frames that a client has missed since this id, or a single `reset`."""
        hints = await self._changes.since(last_event_id)
        count = hints.count("documents", "jobs", "collections") if hints is not None else 0
        if hints is None or count > MAX_MISSED or any(map(hints.is_any, ("documents", "jobs", "collections"))):
            return [reset_frame(client.subscription, TOPICS)]
        events = await self._document_events(hints.take("documents", MAX_MISSED))
        events += await self._job_events(hints.take("jobs", MAX_MISSED))
        names = dict.fromkeys(event.data["collection"] for event in events if event.name == "document")
        events += await self._collection_events([*hints.take("collections", MAX_MISSED), *names][:MAX_COLLECTIONS])
        if "folders" in hints.changed:
            events.append(_folders_event())
        if "models" in hints.changed:
            events += [_model_event(wire) for wire in await self._model_wires()]
        return [_frame(event, self._sent_to) for event in events if client.wants(event)]

    async def _follow(self) -> None:
        """Gather hints. If Redis was away, what was published meanwhile may be missing, so clients are reset."""
        is_away = False
        while True:
            try:
                hints, self._read_to = await self._changes.read(self._read_to)
            except Unavailable:
                is_away = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if is_away:
                is_away = False
                self._reset(TOPICS)
            for topic, ids in hints.changed.items():
                self._waiting.add(topic, ids)
            self._has_waiting.set()

    async def _send_changes(self) -> None:
        """Send what has changed, in rounds. What a round could not read is missing, so clients are reset after it."""
        has_failed = False
        while True:
            try:
                is_done = await self._send_round()
            except LlmApiError as error:
                if not has_failed:
                    log.warning("changes are sent later: %s", error.message)
                has_failed = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if has_failed:
                has_failed = False
                self._reset(TOPICS)
            if is_done:
                self._has_waiting.clear()
                try:
                    async with asyncio.timeout(SUMMARY_SECONDS if self._has_summaries else MODELS_SECONDS):
                        await self._has_waiting.wait()
                except TimeoutError:
                    pass
            await asyncio.sleep(GATHER_SECONDS if is_done else BUSY_SECONDS)

    @property
    def _has_summaries(self) -> bool:
        return bool(self._collections) or self._queue_changed or self._is_working

    async def _send_round(self) -> bool:
        """Send some of what has changed. Return whether nothing of it waits any more."""
        read_to, waiting = self._read_to, self._waiting
        for topic, event_topic in (("documents", "documents"), ("collections", "documents"), ("jobs", "jobs")):
            if waiting.is_any(topic) or waiting.count(topic) > MAX_WAITING:
                if not self._is_due(f"reset {topic}", RESET_SECONDS):
                    return False
                waiting.changed.pop(topic)
                self._reset([event_topic])
        if waiting.changed.pop("queue", None) is not None:
            self._queue_changed = True
        if waiting.changed.pop("folders", None) is not None:
            self._publish([_folders_event()])
        has_model_hint = waiting.changed.pop("models", None) is not None
        self._publish(await self._document_events(waiting.take("documents", ROUND_ITEMS)))
        self._publish(await self._job_events(waiting.take("jobs", ROUND_ITEMS)))
        self._collections |= dict.fromkeys(waiting.take("collections", MAX_WAITING))
        if self._has_summaries and self._is_due("summaries", SUMMARY_SECONDS):
            names = list(self._collections)[:MAX_COLLECTIONS]
            for name in names:
                del self._collections[name]
            self._publish(await self._collection_events(names))
            await self._send_queue()
        if has_model_hint or self._is_due("models", MODELS_SECONDS):
            await self._send_models()
        is_done = not waiting
        if is_done:
            self._sent_to = read_to
        return is_done

    def _is_due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + seconds
        return True

    def _reset(self, topics: Iterable[str]) -> None:
        for client in self._clients:
            if client.subscription.topics.intersection(topics):
                client.reset(topics)

    def _publish(self, events: Iterable[Event]) -> None:
        for event in events:
            frame = _frame(event, self._sent_to)
            for client in self._clients:
                client.offer(event, frame)

    async def _document_events(self, ids: list[str]) -> list[Event]:
        if not ids:
            return []
        found: list[Document] = await in_thread(self._services.catalog.documents_with_tombstones, ids)
        self._collections |= dict.fromkeys(document.collection for document in found)
        return [_document_event(document, await self._liveness.refresh()) for document in found]

    async def _job_events(self, ids: list[str]) -> list[Event]:
        if not ids:
            return []
        found: list[JobSummary] = await in_thread(self._services.catalog.jobs_by_id, ids)
        is_waiting = any(job.state is JobState.QUEUED for job in found)
        turns, _ = await self._services.stream.turns() if is_waiting else ({}, 0)
        return [_job_event(job, turns.get(job.id)) for job in found]

    async def _send_queue(self) -> None:
        """Say that the queue has changed, and to durable jobs that wait, their new turns.

        While jobs run, their figures change all the time, which is said every QUEUE_SECONDS.
        """
        is_wanted = any("jobs" in client.subscription.topics for client in self._clients)
        if not is_wanted or not (self._queue_changed or (self._is_working and self._is_due("queue", QUEUE_SECONDS))):
            return
        self._queue_changed = False
        turns, running = await self._services.stream.turns()
        self._is_working = running > 0
        self._is_due("queue", QUEUE_SECONDS)
        moved = [job_id for job_id, turn in turns.items() if self._positions.get(job_id) != turn]
        self._positions = turns
        found: list[JobSummary] = await in_thread(self._services.catalog.jobs_by_id, moved) if moved else []
        waiting = [job for job in found if job.state is JobState.QUEUED]
        self._publish([_job_event(job, turns[job.id]) for job in waiting])
        self._publish(
            [
                Event(
                    "jobs", "queue", {"object": "queue.changed", "waiting": len(turns), "running": running}, _is_for_all
                )
            ]
        )

    async def _collection_events(self, names_or_ids: Iterable[str]) -> list[Event]:
        events = []
        for name in names_or_ids:
            try:
                found = await in_thread(self._services.catalog.get_collection, name)
            except NotFound:
                continue  # it was deleted or renamed: whoever shows it gets the events of its documents
            events.append(_collection_event(await with_coverage(self._services, found)))
        return events

    async def _send_models(self) -> None:
        if not any("models" in client.subscription.topics for client in self._clients):
            return
        wires = {wire["id"]: wire for wire in await self._model_wires()}
        encoded = {name: msgspec.json.encode(wire) for name, wire in wires.items()}
        if self._models is not None:
            changed = [wire for name, wire in wires.items() if encoded[name] != self._models.get(name)]
            gone = [{"id": name, "object": "model", "deleted": True} for name in self._models if name not in wires]
            self._publish([_model_event(wire) for wire in changed])
            self._publish([_model_event(wire, "model.deleted") for wire in gone])
        self._models = encoded

    async def _model_wires(self) -> list[dict[str, Any]]:
        return [model_wire(model) for model in await known_models(self._services, "chat", "embeddings", "rerank")]


def _frame(event: Event, position: str) -> bytes:
    return event_frame(position, event.name, msgspec.json.encode(event.data))


def _document_event(document: Document, liveness: Liveness) -> Event:
    def is_for(caller: Caller, wanted: Subscription) -> bool:
        return (
            caller.reach.sees(document.collection)
            and wanted.collection in (None, document.collection)
            and wanted.document in (None, document.id)
        )

    if document.state in _GONE:
        gone = {"id": document.id, "object": "document", "deleted": True, "collection": document.collection}
        return Event("documents", "document.deleted", gone, is_for)
    return Event("documents", "document", document_wire(document, liveness), is_for)


def _collection_event(wire: dict[str, Any]) -> Event:
    def is_for(caller: Caller, wanted: Subscription) -> bool:
        return caller.reach.sees(wire["name"]) and wanted.collection in (None, wire["name"]) and wanted.document is None

    return Event("documents", "collection", wire, is_for)


def _folders_event() -> Event:
    changed = {"object": "watched_folders.changed"}
    return Event("documents", "watched_folders", changed, lambda _, wanted: wanted.document is None)


def _job_event(job: JobSummary, turn: Any) -> Event:
    def is_for(caller: Caller, wanted: Subscription) -> bool:
        return wanted.job in (None, job.id) and is_job_seen(job, caller.job_reach)

    return Event("jobs", "job", job_wire(job, turn=turn), is_for)


def _model_event(wire: dict[str, Any], name: str = "model") -> Event:
    return Event("models", name, wire, lambda caller, _: caller.may_use_model(wire["id"]))


def _is_for_all(_caller: Caller, wanted: Subscription) -> bool:
    return wanted.job is None
