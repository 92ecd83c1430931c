"""Changes reach clients through a real Redis: what they may see, and a reset where something is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import redis

from api import live as module
from api.callers import ANONYMOUS, Caller
from api.dependencies import Services
from api.live import Live, LiveClient, Subscription
from api.routes import live as route
from core.catalog import Catalog, DocumentState, FolderState, JobState, NewDocument, Source, WatchedFolder
from core.errors import AuthenticationFailed, Unavailable
from core.keys import KeyRights, Scope
from core.messages import GenerateRequest
from core.settings import load_settings
from tasks.jobs.changes import ChangePublisher, ChangeStream
from tasks.jobs.kinds import CHAT
from tasks.jobs.queues import Role

pytestmark = pytest.mark.asyncio

BOB = Caller("key-b", KeyRights(owner="bob", collections=("bobs",)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATHER_SECONDS", "BUSY_SECONDS", "SUMMARY_SECONDS", "QUEUE_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)


@pytest_asyncio.fixture
async def live(services: Services, redis_url: str) -> AsyncIterator[Live]:
    async with following(services, redis_url) as live:
        yield live


class following:  # noqa: N801 - a context manager
    """A catalog that publishes its changes to a Redis, and what follows them."""

    def __init__(self, services: Services, url: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._redis.flushdb()
        self._publisher = ChangePublisher(self._redis)
        self._catalog = Catalog.open(services.settings.catalog_url, self._publisher)
        self._stream = ChangeStream(load_settings(_env_file=None, redis_url=url))
        self._services = replace(services, catalog=self._catalog, changes=self._stream)

    async def __aenter__(self) -> Live:
        self._live = Live(self._services, self._stream)
        return self._live

    async def __aexit__(self, *_error: Any) -> None:
        await self._live.close()
        await self._stream.close()
        await asyncio.to_thread(self._publisher.close)
        self._catalog.close()
        self._redis.close()


def add(live: Live, name: str = "a.txt", collection: str = "bobs") -> str:
    new = NewDocument(collection, name, Source.UPLOAD, name, 1, path=name)
    return live._services.catalog.add_document(new).id


async def next_event(client: LiveClient, *names: str) -> tuple[str, Any]:
    """Return the next event of one of these names, and its data."""
    async with asyncio.timeout(60):
        while True:
            name, data = parsed(await client.frames.get())
            if name in names:
                return name, data


def parsed(frame: bytes) -> tuple[str, Any]:
    fields = dict(line.split(b": ", 1) for line in frame.strip().split(b"\n"))
    return fields[b"event"].decode(), msgspec.json.decode(fields[b"data"])


async def test_a_document_is_sent_with_each_change_and_its_collection_with_its_counts(live: Live) -> None:
    catalog = live._services.catalog
    async with live.client(ANONYMOUS, Subscription()) as client:
        document_id = await asyncio.to_thread(add, live)
        _, data = await next_event(client, "document")
        assert (data["id"], data["status"], data["collection"]) == (document_id, "queued", "bobs")
        _, data = await next_event(client, "collection")
        assert (data["name"], data["coverage"]["documents"]) == ("bobs", 1)
        await asyncio.to_thread(
            catalog.claim, document_id, "w", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING
        )
        _, data = await next_event(client, "document")
        assert data["status"] == "parsing"
        await asyncio.to_thread(catalog.delete_document, document_id)
        _, data = await next_event(client, "document.deleted")
        assert data == {"id": document_id, "object": "document", "deleted": True, "collection": "bobs"}


async def test_a_watched_folder_that_vanishes_is_reported(live: Live) -> None:
    folder = WatchedFolder("/in box", "bobs", "mirror", FolderState.MISSING, None, 5, 5, False, 0)
    async with live.client(ANONYMOUS, Subscription()) as client:
        await asyncio.to_thread(live._services.catalog.save_watched_folder, folder)
        _, data = await next_event(client, "watched_folders")
        assert data == {"object": "watched_folders.changed"}


async def test_a_job_is_sent_with_its_state_and_a_model_when_it_changes(live: Live) -> None:
    catalog, stream = live._services.catalog, live._services.stream
    async with live.client(ANONYMOUS, Subscription()) as client:
        await asyncio.to_thread(catalog.create_job, "job-1", "chat", "/v1/chat/completions", "{}")
        assert (await next_event(client, "job"))[1]["status"] == "queued"
        await asyncio.to_thread(catalog.finish_job, "job-1", JobState.COMPLETED, "{}")
        _, data = await next_event(client, "job")
        assert (data["status"], data["result"]) == ("completed", None)
        await next_hint(live)
        stream.live[Role.INFERENCE]["other@host"] = {"model": {"name": "other"}}  # type: ignore[attr-defined]
        await asyncio.to_thread(catalog.want_model, "other")
        _, data = await next_event(client, "model")
        assert (data["id"], data["state"]) == ("other", "loaded")
        del stream.live[Role.INFERENCE]["other@host"]  # type: ignore[attr-defined]
        await asyncio.to_thread(catalog.want_model, "other")
        assert (await next_event(client, "model.deleted"))[1]["id"] == "other"


async def next_hint(live: Live) -> None:
    """Wait until the models have been read, with which later ones are compared."""
    async with asyncio.timeout(60):
        while live._models is None:
            await asyncio.to_thread(live._services.catalog.want_model, "any")
            await asyncio.sleep(0.05)


async def test_the_queue_is_announced_when_it_changes_and_while_jobs_run(live: Live, redis_url: str) -> None:
    stream: Any = live._services.stream
    await stream.submit("job-1", CHAT, GenerateRequest(messages=[]), durable=True)
    async with live.client(ANONYMOUS, Subscription(frozenset({"jobs"}))) as client:
        await asyncio.to_thread(live._services.catalog.create_job, "job-1", "chat", "/", "{}")
        assert (await next_event(client, "job"))[1]["position"] == 0
        stream.running = 1
        with redis.Redis.from_url(redis_url) as other:
            publisher = ChangePublisher(other)
            publisher({"queue": ()})
            assert await next_event(client, "queue") == (
                "queue",
                {"object": "queue.changed", "waiting": 1, "running": 1},
            )
            await asyncio.to_thread(publisher.close)
        assert (await next_event(client, "queue"))[1]["running"] == 1, "again, without a hint, as long as one runs"


async def test_everyone_gets_what_they_may_see_and_asked_for(live: Live) -> None:
    catalog = live._services.catalog
    only = Subscription(frozenset({"documents"}), collection="others")
    async with live.client(BOB, Subscription()) as bob, live.client(ANONYMOUS, only) as other:
        await asyncio.to_thread(add, live, "secret.txt", "others")
        await asyncio.to_thread(catalog.create_job, "job-a", "chat", "/", "{}", owner="alice")
        await asyncio.to_thread(catalog.create_job, "job-b", "chat", "/", "{}", owner="bob", collections=["bobs"])
        await asyncio.to_thread(add, live, "bobs.txt", "bobs")
        assert (await next_event(bob, "document"))[1]["filename"] == "bobs.txt"
        assert (await next_event(bob, "job"))[1]["id"] == "job-b"
        assert (await next_event(other, "document"))[1]["filename"] == "secret.txt"
        await asyncio.to_thread(add, live, "last.txt", "others")
        assert (await next_event(other, "document"))[1]["filename"] == "last.txt"


async def test_who_comes_back_gets_what_has_changed_since(live: Live) -> None:
    async with live.client(ANONYMOUS, Subscription()) as client:
        await asyncio.to_thread(add, live, "first.txt")
        await next_event(client, "collection")
        async with asyncio.timeout(60):
            while live.position == "0-0":
                await asyncio.sleep(0.01)
        seen = live.position
    second = await asyncio.to_thread(add, live, "second.txt")
    await published(live, seen)
    async with live.client(ANONYMOUS, Subscription()) as client:
        frames = [parsed(frame) for frame in await live.missed(client, seen)]
        assert [name for name, _ in frames] == ["document", "collection"] and frames[0][1]["id"] == second
        for unknown in ("1-1", "99999999999999-0"):
            assert [parsed(frame) for frame in await live.missed(client, unknown)] == [
                ("reset", {"topics": ["documents", "jobs", "models"]})
            ]


async def published(live: Live, after: str) -> None:
    async with asyncio.timeout(60):
        while await live._changes.position() == after:
            await asyncio.sleep(0.01)


async def test_a_client_that_does_not_read_is_reset_and_takes_no_more_memory() -> None:
    client = LiveClient(ANONYMOUS, Subscription())
    event = module.Event("documents", "document", {}, lambda *_: True)
    for number in range(module.MAX_FRAMES + 2):
        client.offer(event, b"event: document\ndata: %d\n\n" % number)
    assert client.frames.qsize() == 2
    assert await next_event(client, "reset") == ("reset", {"topics": ["documents", "jobs", "models"]})
    assert await next_event(client, "document") == ("document", module.MAX_FRAMES + 1)


async def test_many_changes_at_once_are_a_reset(live: Live) -> None:
    async with live.client(ANONYMOUS, Subscription()) as client:
        new = [NewDocument("bobs", f"{one}", Source.WATCH, f"{one}", 1, root="/", path=f"{one}") for one in range(900)]
        await asyncio.to_thread(live._services.catalog.add_files, new)
        assert (await next_event(client, "reset"))[1] == {"topics": ["documents"]}
        assert (await next_event(client, "collection"))[1]["coverage"]["documents"] == 900


async def test_a_broken_connection_loses_nothing(live: Live, redis_url: str) -> None:
    async with live.client(ANONYMOUS, Subscription()) as client:
        await asyncio.to_thread(add, live)
        await next_event(client, "document")
        with redis.Redis.from_url(redis_url) as other:
            other.client_kill_filter(_type="normal", skipme=True)
        await asyncio.to_thread(add, live, "b.txt")
        assert (await next_event(client, "document", "reset"))[1].get("filename") == "b.txt"


async def test_while_redis_is_away_the_stream_stays_and_is_reset_after_it(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, is_away = live._changes.read, True

    async def fail_or_read(after: str) -> Any:
        if is_away:
            raise Unavailable("Redis does not answer.")
        return await read(after)

    monkeypatch.setattr(live._changes, "read", fail_or_read)
    async with live.client(ANONYMOUS, Subscription()) as client:
        await asyncio.to_thread(add, live)
        await asyncio.sleep(0)
        is_away = False
        assert (await next_event(client, "reset"))[1]["topics"] == ["documents", "jobs", "models"]
        assert (await next_event(client, "document"))[1]["filename"] == "a.txt"


async def test_a_stream_ends_with_its_key(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "CHECK_SECONDS", 0.01)

    async def refused() -> Caller:
        raise AuthenticationFailed("The API key has been revoked.")

    frames = route._frames(live, BOB, Subscription(), "", refused)
    assert (await anext(frames)).startswith(b"retry: ")
    with pytest.raises(AuthenticationFailed):
        async for _ in frames:
            pass
    assert not live._clients and not live._tasks, "nobody is left, so nothing is followed"


async def test_topics_need_their_scopes() -> None:
    chat = Caller("key", KeyRights(owner="a", scopes=(Scope.CHAT,)))
    assert route._topics(None, chat) == {"jobs", "models"}
    assert route._topics("jobs, models", chat) == {"jobs", "models"}
    for given in ("documents", "jobs,documents", "none"):
        with pytest.raises(Exception, match="scope|topic"):
            route._topics(given, chat)
