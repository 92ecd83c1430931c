"""API keys and usage in the catalog, and what belongs to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import core.catalog.keys
from core.catalog import Catalog, Document, DocumentState, JobState
from core.catalog.keys import ENDED_KEY_RETENTION_SECONDS, LAST_USE_SECONDS
from core.errors import Conflict, InvalidRequest, NotFound, PermissionDenied
from core.keys import KeyRights, Reach, Scope, key_digest
from core.usage import USAGE_RETENTION_DAYS, DailyUsage, iso_day
from tests.unit.catalog.conftest import Clock

ALICE = KeyRights(owner="alice", scopes=(Scope.CHAT, Scope.DOCUMENTS_READ), collections=("a", "b"), tokens_per_day=5)


def test_a_key_is_found_by_its_hash_alone(catalog: Catalog, clock: Clock) -> None:
    assert not catalog.has_keys()
    key = catalog.create_key(key_digest("secret"), replace(ALICE, expires_at=clock.now + 5))
    assert catalog.find_key(key_digest("secret")) == catalog.get_key(key.id) == key
    assert (key.owner, key.scopes, key.collections, key.models) == ("alice", ALICE.scopes, ("a", "b"), None)
    assert catalog.find_key(key_digest("another")) is None and catalog.has_keys()
    with pytest.raises(NotFound):
        catalog.get_key("key-none")


def test_the_use_of_a_key_is_written_rarely(catalog: Catalog, clock: Clock) -> None:
    key = catalog.create_key(key_digest("secret"), ALICE)
    catalog.record_key_use(key)
    first = catalog.get_key(key.id)
    clock.advance(LAST_USE_SECONDS - 1)
    catalog.record_key_use(first)
    assert catalog.get_key(key.id).last_used_at == first.last_used_at == clock.now - LAST_USE_SECONDS + 1
    clock.advance(1)
    catalog.record_key_use(first)
    assert catalog.get_key(key.id).last_used_at == clock.now


def test_ended_keys_are_removed_late_and_the_newest_never(
    catalog: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked, expired, newest = (
        catalog.create_key(key_digest(str(number)), replace(ALICE, expires_at=clock.now + number or None))
        for number in range(3)
        if clock.advance(1) is None
    )
    assert [key.id for key in catalog.list_keys().items] == [newest.id, expired.id, revoked.id]
    assert [key.id for key in catalog.list_keys(1, after=newest.id).items] == [expired.id]
    assert catalog.revoke_key(revoked.id).revoked_at == clock.now
    clock.advance(5)
    assert catalog.revoke_key(revoked.id).revoked_at == clock.now - 5, "it stays as it is"
    catalog.revoke_key(newest.id)
    assert catalog.purge_keys() == 0
    clock.advance(ENDED_KEY_RETENTION_SECONDS + 1)
    assert catalog.purge_keys() == 2 and catalog.has_keys()
    monkeypatch.setattr(core.catalog.keys, "MAX_KEYS", 1)
    with pytest.raises(Conflict, match="no more can be kept"):
        catalog.create_key(key_digest("one more"), ALICE)


def test_usage_is_added_up_by_day_owner_and_key(catalog: Catalog, clock: Clock) -> None:
    today = iso_day(clock.now)
    catalog.add_usage([DailyUsage(today, "alice", "k1", 1, 10, 5), DailyUsage(today, "bob", "k2", 1)])
    catalog.add_usage([DailyUsage(today, "alice", "k1", 2, 3, 2), DailyUsage("2020-01-01", "alice", "k1", 7)])
    assert catalog.tokens_of_day("alice", "k1") == 20
    assert catalog.tokens_of_day("bob", "k2") == catalog.tokens_of_day("alice", "none") == 0
    rows = catalog.list_usage().items
    assert rows == [
        DailyUsage(today, "bob", "k2", 1),
        DailyUsage(today, "alice", "k1", 3, 13, 7),
        DailyUsage("2020-01-01", "alice", "k1", 7),
    ]
    page = catalog.list_usage(limit=1)
    assert (page.items, page.has_more) == (rows[:1], True)
    assert catalog.list_usage(after=(rows[0].day, rows[0].owner, rows[0].key)).items == rows[1:]
    assert catalog.list_usage(owner="alice", first_day="2020-01-02").items == rows[1:2]
    assert catalog.list_usage(key="k1", last_day="2020-01-01").items == rows[2:]
    assert catalog.purge_usage() == 1
    clock.advance((USAGE_RETENTION_DAYS + 1) * 86400)
    assert catalog.purge_usage() == 2 and catalog.tokens_of_day("alice", "k1") == 0


def test_the_jobs_of_an_owner_are_seen_by_keys_that_may_read_as_much(catalog: Catalog, clock: Clock) -> None:
    limits = {"free": None, "limited": ["b", "a"], "blind": [], "other": ["c"]}
    for name, collections in limits.items():
        clock.advance(1)
        catalog.create_job(name, "chat", "/", "{}", "k", owner="alice", collections=collections)
    catalog.create_job("bobs", "chat", "/", "{}", "k", owner="bob")

    def seen(reach: Reach) -> list[str]:
        listed = [job.id for job in catalog.list_jobs(reach=reach).items]
        for job_id in (*limits, "bobs"):
            if job_id in listed:
                assert catalog.get_job(job_id, reach).id == job_id
                assert catalog.list_jobs(after=job_id, reach=reach)
            else:
                with pytest.raises(NotFound):
                    catalog.get_job(job_id, reach)
                with pytest.raises(InvalidRequest):
                    catalog.list_jobs(after=job_id, reach=reach)
        return listed

    assert seen(Reach("alice")) == ["other", "blind", "limited", "free"]
    assert seen(Reach("alice", ("a", "b"))) == ["blind", "limited"]
    assert seen(Reach("alice", ())) == ["blind"]
    assert seen(Reach("bob")) == ["bobs"] and seen(Reach("nobody")) == []
    assert len(seen(Reach())) == 5
    assert catalog.list_jobs(state=JobState.RUNNING, reach=Reach("alice")).items == []
    assert [job.id for job in catalog.list_jobs(2, after="blind", reach=Reach("alice")).items] == ["limited", "free"]
    assert (catalog.unfinished_job_count("alice"), catalog.unfinished_job_count("bob")) == (4, 1)
    assert (catalog.job_bytes("alice"), catalog.job_bytes("bob")) == (8, 2)


def test_documents_are_listed_and_changed_within_a_reach(catalog: Catalog, add: Callable[..., Document]) -> None:
    mine, theirs, elsewhere = (
        add(collection=collection, owner=owner).id for collection, owner in (("a", "alice"), ("a", "bob"), ("b", "bob"))
    )

    def listed(reach: Reach, **options: str) -> list[str]:
        return [one.id for one in catalog.list_documents(reach=reach, **options).items]  # type: ignore[arg-type]

    assert listed(Reach("alice")) == [elsewhere, theirs, mine], "collections are shared"
    assert listed(Reach("alice", ("a",))) == [theirs, mine] and listed(Reach("alice", ())) == []
    assert listed(Reach("alice", ("a",)), collection="b") == listed(Reach("alice"), collection="none") == []
    assert listed(Reach("alice", ("a", "b")), after=theirs) == [mine]
    with pytest.raises(InvalidRequest):
        listed(Reach("alice", ("a",)), after=elsewhere)
    assert catalog.cancel_unsettled(reach=Reach("alice", ("b",))) == 0
    assert catalog.cancel_unsettled("b", Reach("bob", ("a",))) == 0
    assert catalog.cancel_unsettled(reach=Reach("bob", ("a",))) == 1
    states = [catalog.get_document(key).state for key in (mine, theirs, elsewhere)]
    assert states == [DocumentState.QUEUED, DocumentState.CANCELLED, DocumentState.QUEUED]


def test_a_collection_with_documents_of_others_is_not_deleted(catalog: Catalog, add: Callable[..., Document]) -> None:
    add(collection="a", owner="alice")
    theirs = add(collection="a", owner="bob")
    assert catalog.get_collection("a").owner == "alice", "it is created with its first document"
    with pytest.raises(PermissionDenied) as refused:
        catalog.delete_collection("a", Reach("alice"))
    assert refused.value.code == "not_the_owner"
    catalog.delete_document(theirs.id)
    assert catalog.delete_collection("a", Reach("alice")) == 1
