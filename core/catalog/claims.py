"""Claims: one worker at a time works on a document, and a worker that lost its claim can no longer change it.

A claim is a conditional UPDATE that raises the row's token; each later change names the token that the worker holds.
The lease is the time for which a claim holds without being renewed; after it, any worker may take the document over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from core.catalog.chunk_format import CHUNK_FORMAT
from core.catalog.migration import MigratedDatabase
from core.catalog.rows import FENCED, IN_TURN, SELECT_DOCUMENT, WAITING, AnyRow, as_document, batches, checked, clean
from core.catalog.tables import collections, documents
from core.catalog.transitions import change, check_follows, may_enter
from core.catalog.types import Activation, Claim, DocumentState, Indexed, Parsed, ParseEnd, Refused, Released

#: A document whose claims were lost this often is quarantined.
MAX_ATTEMPTS = 3
LEASE_SECONDS = 30.0
MISSING_CHUNKS = (
    "Its chunks were not in the BLOB_DIR of the index worker, {times} times in a row, although a parser had written "
    "them. All ingest and index workers need one BLOB_DIR that they share."
)
CRASHED = (
    "It crashed its worker {attempts} times, so it is not tried again. The file may be damaged, or need more memory "
    "than PARSE_MEMORY_BYTES or more time than PARSE_TIMEOUT_SECONDS. Retry it once the cause is fixed."
)


class ClaimQueries(MigratedDatabase):
    """The part of the catalog that workers use."""

    def claim(
        self,
        document_id: str,
        worker: str,
        *,
        expected: DocumentState,
        claimed: DocumentState,
        lease_seconds: float = LEASE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> Claim | None:
        """Move a document from `expected` to `claimed`, or take it over from a worker whose lease has ended.

        Return None if the document is in another state, if a live worker holds it, or if it has crashed `max_attempts`
        workers: then it becomes failed. A deletion (`expected` equals `claimed`) never fails this way.
        """
        found = self.claim_all(
            [document_id],
            worker,
            expected=expected,
            claimed=claimed,
            lease_seconds=lease_seconds,
            max_attempts=max_attempts,
        )
        return found[0] if found else None

    def claim_all(
        self,
        document_ids: Sequence[str],
        worker: str,
        *,
        expected: DocumentState,
        claimed: DocumentState,
        lease_seconds: float = LEASE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> list[Claim]:
        """Claim each of these documents that can be claimed, as `claim` does, in the given order."""
        with self._write() as connection:
            free = sa.or_(documents.c.state == expected, abandoned(claimed, self._now()))
            if expected == claimed:
                free = abandoned(claimed, self._now())
            query = SELECT_DOCUMENT.where(documents.c.id.in_(document_ids), checked(free))
            query = query.order_by(documents.c.id).with_for_update(of=documents)
            rows = {row.id: row for row in connection.execute(query)}
            ordered = [rows[key] for key in dict.fromkeys(document_ids) if key in rows]
            return self._take(connection, ordered, worker, expected, claimed, lease_seconds, max_attempts)

    def claim_next(
        self,
        worker: str,
        *,
        expected: DocumentState,
        claimed: DocumentState,
        limit: int,
        max_chunks: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> list[Claim]:
        """Claim up to `limit` documents as `claim` does: first those of dead workers, then those whose turn it is.

        With `max_chunks`, claim only documents of at most that many chunks.
        """
        size = sa.true() if max_chunks is None else documents.c.chunk_count <= max_chunks
        with self._write() as connection:
            # Two queries, because each can follow an index: a single one with OR would sort the whole queue.
            rows = first_in_turn(connection, sa.and_(abandoned(claimed, self._now()), size), limit)
            if expected != claimed and len(rows) < limit:
                rows += first_in_turn(connection, sa.and_(documents.c.state == expected, size), limit - len(rows))
            return self._take(connection, rows, worker, expected, claimed, lease_seconds, max_attempts)

    def _take(
        self,
        connection: sa.Connection,
        rows: Sequence[AnyRow],
        worker: str,
        expected: DocumentState,
        claimed: DocumentState,
        lease_seconds: float,
        max_attempts: int,
    ) -> list[Claim]:
        """Claim rows that this transaction has locked."""
        check_follows(expected, claimed)
        now = self._now()
        values = {"state": claimed, "updated_at": now, "lease_until": now + lease_seconds, **_stage_start(claimed, now)}
        claims, changes = [], []
        for row in rows:
            was_lost = row.state == claimed != expected
            attempts = row.attempts + 1 if was_lost else row.attempts
            if was_lost and attempts >= max_attempts:
                _quarantine(connection, row.id, attempts, now)
                continue
            claim = Claim(as_document(row, values | {"attempts": attempts}), row.token + 1)
            claims.append(claim)
            changes.append((claim, values | {"attempts": attempts, "token": claim.token, "worker": worker}))
        _change_each(connection, changes)
        return claims

    def renew(
        self, claim: Claim, lease_seconds: float = LEASE_SECONDS, progress: tuple[int, int] | None = None
    ) -> bool:
        """Renew the lease, counted from now. Return False if the claim is lost; then the work should stop.

        `progress`: the number of chunks indexed so far, and of texts that had to be embedded for them.
        """
        values: dict[str, Any] = {"lease_until": self._now() + lease_seconds}
        if progress is not None:
            values |= {"chunks_indexed": progress[0], "chunks_embedded": progress[1]}
        return self._change_claimed(claim, values)

    def advance(
        self,
        claim: Claim,
        state: DocumentState,
        *,
        chunk_count: int | None = None,
        media_type: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> bool:
        """End the claim with success: the document advances to `state`. Return False if the claim was fenced off."""
        given = {"chunk_count": chunk_count, "media_type": media_type, "properties": properties}
        known = {name: value for name, value in given.items() if value is not None}
        return self._finish(claim, self._advanced(state) | known)

    def end_parsing(self, ends: Sequence[ParseEnd]) -> list[Claim]:
        """End the claims of documents that were parsed, refused or released. Return claims that were fenced off."""
        if not ends:
            return []
        with self._write() as connection:
            held = _held(connection, [end.claim for end in ends], DocumentState.PARSING)
            kept = [end for end in ends if end.claim.document.id in held]
            _change_each(connection, [(end.claim, self._ended() | self._after(end)) for end in kept])
        return [end.claim for end in ends if end.claim.document.id not in held]

    def _after(self, end: ParseEnd) -> dict[str, Any]:
        match end:
            case Parsed():
                known = {"media_type": end.media_type, "properties": dict(end.properties)}
                return self._advanced(DocumentState.PARSED) | known | {"chunk_count": end.chunk_count}
            case Refused():
                return self._failed(end.reason, end.code)
            case Released():
                return _released(DocumentState.QUEUED)

    def _advanced(self, state: DocumentState) -> dict[str, Any]:
        chunks = {"chunk_format": CHUNK_FORMAT} if state is DocumentState.PARSED else {}
        return {"state": state, "attempts": 0, "error": None, "parsed_at": self._now(), **chunks}

    def _failed(self, reason: str, code: str) -> dict[str, Any]:
        return {"state": DocumentState.FAILED, "error": clean(reason), "error_code": code, "ended_at": self._now()}

    def release(self, claim: Claim, state: DocumentState) -> bool:
        """Release the document unchanged, in `state`, as a stopping worker does.

        Return False if it was fenced off, or may not enter that state.
        """
        return self._finish(claim, _released(state))

    def parse_again(self, claim: Claim) -> bool:
        """Queue a document again whose chunks cannot be read, or fail it after `MAX_ATTEMPTS` times in a row.

        From the second time on, its message waits half a minute: a shared folder may show a new file late. Return
        False if the claim was fenced off.
        """
        times = claim.document.chunks_missing + 1
        if times >= MAX_ATTEMPTS:
            return self.fail(claim, MISSING_CHUNKS.format(times=times), "chunks_missing")
        sent_at = self._now() if times > 1 else None
        return self._finish(
            claim, _released(DocumentState.QUEUED) | {"chunks_missing": times, "dispatched_at": sent_at}
        )

    def activate(self, claim: Claim, chunk_count: int, chunks_embedded: int = 0) -> bool:
        """End the claim: from now on search sees the claimed generation only. Return False if it was fenced off."""
        return self.activate_all([Indexed(claim, chunk_count, chunks_embedded)])[0] is Activation.ACTIVE

    def activate_all(self, finished: Sequence[Indexed]) -> list[Activation]:
        """Activate many claims in one transaction, as `activate` does, and return each one's result.

        A claim whose collection is in other stores by now is kept: its points are not where search will look.
        """
        with self._write() as connection:
            held = _held(connection, [one.claim for one in finished], DocumentState.INDEXING)
            placements = _placements(connection, {row.collection_id for row in held.values()})
            results, changes = [], []
            for one in finished:
                row = held.get(one.claim.document.id)
                placement = placements[row.collection_id] if row else None
                results.append(_activation(one, placement))
                if row and results[-1] is Activation.ACTIVE:
                    changes.append((one.claim, self._ended() | self._active(one, row.path) | {"placement": placement}))
            _change_each(connection, changes)
        return results

    def _active(self, indexed: Indexed, path: str | None) -> dict[str, Any]:
        now = self._now()
        document = indexed.claim.document
        return {
            "state": DocumentState.COMPLETED,
            "active_generation": document.generation,
            "chunk_count": indexed.chunk_count,
            "chunks_indexed": indexed.chunk_count,
            "chunks_embedded": indexed.chunks_embedded,
            "chunks_missing": 0,
            "attempts": 0,
            "error": None,
            # The points carry the path of the claimed row: they are stale only if the path has changed since.
            "moved": path != document.path,
            "completed_at": now,
            "ended_at": now,
        }

    def fail(self, claim: Claim, reason: str, code: str = "invalid_file") -> bool:
        """End the claim: the document fails. An older generation stays searchable.

        Return False if the claim was fenced off.
        """
        return self._finish(claim, self._failed(reason, code))

    def finish_delete(self, claim: Claim) -> bool:
        """End the claim of a deletion: only a tombstone remains. Return False if the claim was fenced off."""
        return self.finish_deletes([claim])[0]

    def finish_deletes(self, claims: Sequence[Claim]) -> list[bool]:
        """Finish many deletions in one transaction, as `finish_delete` does, and return each one's result."""
        values = {"state": DocumentState.DELETED, "chunk_count": 0, "blob_key": None}
        with self._write() as connection:
            held = _held(connection, claims, DocumentState.DELETING)
            kept = [claim for claim in claims if claim.document.id in held]
            _change_each(connection, [(claim, self._ended() | values) for claim in kept])
        return [claim.document.id in held for claim in claims]

    def reclaim(
        self,
        worker: str,
        *,
        expected: DocumentState,
        claimed: DocumentState,
        document_id: str | None = None,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> int:
        """End the claims of a worker that is known to be dead, without waiting for their leases. Return their number.

        `worker` is the name that it claimed with, or the name of the parent of a child that claimed as `name:pid`.
        Each lost claim counts as an attempt, and the last attempt fails the document. With `document_id`, end the
        claim of that document only.
        """
        mine = sa.or_(documents.c.worker == worker, documents.c.worker.startswith(f"{worker}:", autoescape=True))
        query = sa.select(documents.c.id, documents.c.attempts).where(documents.c.state == claimed, mine)
        if document_id is not None:
            query = query.where(documents.c.id == document_id)
        with self._write() as connection:
            rows = connection.execute(query.with_for_update()).all()
            for row in rows:
                if expected != claimed and row.attempts + 1 >= max_attempts:
                    _quarantine(connection, row.id, row.attempts + 1, self._now())
                    continue
                values = {"state": expected, "attempts": row.attempts + 1, "dispatched_at": None}
                values |= FENCED | {"updated_at": self._now()}
                connection.execute(change(values).where(documents.c.id == row.id))
        return len(rows)

    def _finish(self, claim: Claim, values: dict[str, Any]) -> bool:
        return self._change_claimed(claim, values | self._ended())

    def _ended(self) -> dict[str, Any]:
        return {"worker": None, "lease_until": None, "updated_at": self._now()}

    def _change_claimed(self, claim: Claim, values: dict[str, Any]) -> bool:
        with self._write() as connection:
            return self._change_in(connection, claim, values)

    def _change_in(self, connection: sa.Connection, claim: Claim, values: dict[str, Any]) -> bool:
        statement = change(values).where(
            documents.c.id == claim.document.id,
            documents.c.token == claim.token,
            # After a claim is finished, its token stays in the row, but the worker is cleared.
            documents.c.worker.is_not(None),
        )
        return connection.execute(statement).rowcount == 1


def _change_each(connection: sa.Connection, changes: Iterable[tuple[Claim, dict[str, Any]]]) -> None:
    """Update the rows of claims, which this transaction has locked, with one statement for each set of columns."""
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for claim, values in changes:
        parameters = {f"new_{name}": value for name, value in values.items()}
        alike[(values["state"], *values)].append(parameters | {"claimed_id": claim.document.id})
    for (state, *names), rows in alike.items():
        new = {name: sa.bindparam(f"new_{name}", type_=documents.c[name].type) for name in names}
        statement = sa.update(documents).where(documents.c.id == sa.bindparam("claimed_id"), may_enter(state))
        connection.execute(statement.values(new), rows)


def _held(connection: sa.Connection, claims: Sequence[Claim], state: DocumentState) -> dict[str, AnyRow]:
    """Return the rows, by id, of the documents in this state whose claims still hold. Lock them."""
    tokens = {claim.document.id: claim.token for claim in claims}
    columns = (documents.c.id, documents.c.token, documents.c.path, documents.c.collection_id)
    # After a claim is finished, its token stays in the row, but the worker is cleared.
    query = sa.select(*columns).where(checked(sa.and_(documents.c.worker.is_not(None), documents.c.state == state)))
    # In one order everywhere, so that on PostgreSQL two transactions never wait for each other.
    query = query.order_by(documents.c.id).with_for_update()
    found = [row for batch in batches(tokens) for row in connection.execute(query.where(documents.c.id.in_(batch)))]
    return {row.id: row for row in found if row.token == tokens[row.id]}


def _placements(connection: sa.Connection, collection_ids: Iterable[str]) -> dict[str, int]:
    """Return the placement numbers of collections by id. On PostgreSQL, none can change during this transaction."""
    query = sa.select(collections.c.id, collections.c.placement).where(collections.c.id.in_(collection_ids))
    rows = connection.execute(query.order_by(collections.c.id).with_for_update(read=True))
    return {row.id: row.placement for row in rows}


def _activation(indexed: Indexed, placement: int | None) -> Activation:
    if placement is None:
        return Activation.FENCED
    return Activation.ACTIVE if indexed.placement in (None, placement) else Activation.MISPLACED


def _released(state: DocumentState) -> dict[str, Any]:
    return {"state": state, "dispatched_at": None}


def abandoned(claimed: DocumentState, now: float) -> sa.ColumnElement[bool]:
    """Return the condition for a document in the claimed state that no live worker holds."""
    ended = sa.or_(documents.c.lease_until.is_(None), documents.c.lease_until < now)
    return sa.and_(documents.c.state == claimed, ended)


def first_in_turn(connection: sa.Connection, condition: sa.ColumnElement[bool], limit: int) -> list[AnyRow]:
    """Return the rows of waiting documents whose turn it is: the oldest, before those that were queued in bulk.

    On PostgreSQL, skip those that another worker is about to claim.
    """
    query = sa.select(documents.c.id).where(WAITING, condition).order_by(*IN_TURN).limit(limit)
    ids = list(connection.execute(query.with_for_update(skip_locked=True)).scalars())
    # By themselves, so that no plan sorts the whole queue, and an empty one costs next to nothing.
    rows = {row.id: row for row in connection.execute(SELECT_DOCUMENT.where(documents.c.id.in_(ids)))} if ids else {}
    return [rows[document_id] for document_id in ids]


def _quarantine(connection: sa.Connection, document_id: str, attempts: int, now: float) -> None:
    values = FENCED | {
        "state": DocumentState.FAILED,
        "error": CRASHED.format(attempts=attempts),
        "error_code": "worker_lost",
        "attempts": attempts,
        "updated_at": now,
        "ended_at": now,
    }
    connection.execute(change(values).where(documents.c.id == document_id))


def _stage_start(claimed: DocumentState, now: float) -> dict[str, Any]:
    """Return the columns that record when the stage began, for its timings."""
    if claimed is DocumentState.PARSING:
        return {"parsing_at": now}
    return {"indexing_at": now, "chunks_indexed": 0} if claimed is DocumentState.INDEXING else {}
