"""What each write transaction has changed, for those who want to hear of it: see `Database`.

The ids are read from the statements, in one place, so that no method can forget to name what it changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.sql import operators

from core.catalog.tables import collections, documents, jobs, model_wishes, watched_folders

Topic = Literal["documents", "jobs", "collections", "models", "folders"]
#: The ids that were changed, by topic. `ANY` among them: it is not known which.
Changes: TypeAlias = Mapping[str, set[str]]
#: Called after a commit, in the thread that has written. It must return at once, and may raise nothing.
OnChange: TypeAlias = Callable[[Changes], None]

ANY = "*"
#: The execution option that holds what a transaction has changed so far.
CHANGED = "llm_api_changed"
#: None: which rows have changed is not said.
_TOPICS: dict[Any, tuple[Topic, sa.Column[Any] | None]] = {
    documents: ("documents", documents.c.id),
    jobs: ("jobs", jobs.c.id),
    collections: ("collections", collections.c.id),
    model_wishes: ("models", model_wishes.c.model),
    watched_folders: ("folders", None),
}


def new_changes() -> defaultdict[str, set[str]]:
    """Return what a transaction has changed that has just begun."""
    return defaultdict(set)


def watch(engine: sa.Engine) -> None:
    """Note in the option `CHANGED` of each transaction that has it what its statements insert and update.

    Rows are removed long after their objects, so nothing is noted of that.
    """
    event.listen(engine, "after_execute", _note)


def _note(
    connection: sa.Connection,
    statement: Any,
    many: Iterable[Mapping[str, Any]],
    one: Mapping[str, Any],
    _options: Mapping[str, Any],
    result: sa.CursorResult[Any],
) -> None:
    changed = connection.get_execution_options().get(CHANGED)
    if changed is None or not (getattr(statement, "is_insert", False) or getattr(statement, "is_update", False)):
        return
    topic, key = _TOPICS.get(statement.table, (None, None))
    if topic is None:
        return
    if key is None:
        changed[topic].add(ANY)
        return
    rows = list(many) or ([one] if one else [])
    if statement.is_update:
        changed[topic].update(_ids_in(statement.whereclause, key, rows))
    elif key.name in (rows[0] if rows else ()):
        changed[topic].update(str(row[key.name]) for row in rows)
    else:
        changed[topic].update(str(value) for value in result.inserted_primary_key or (ANY,))


def _ids_in(where: Any, key: sa.Column[Any], rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the ids that a condition names: `id = …`, or `id IN …`."""
    # Only the conditions that all hold, and not what they consist of: that would take longer than the statement.
    for part in where.clauses if isinstance(where, sa.BooleanClauseList) else (where,):
        if not isinstance(part, sa.BinaryExpression) or part.operator not in (operators.eq, operators.in_op):
            continue
        if part.left is key and isinstance(part.right, sa.BindParameter):
            return set(_values(part.right, rows))
    return {ANY}


def _values(bound: sa.BindParameter[Any], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    given = [row[bound.key] for row in rows if bound.key in row] or [bound.value]
    for value in given:
        yield from map(str, value if isinstance(value, list | tuple | set) else [value])
