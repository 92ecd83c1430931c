"""The states of a document that may follow each other. Each statement that changes a state checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from core.catalog.tables import documents
from core.catalog.types import RETRYABLE, UNSETTLED, DocumentState

_ALIVE = (*UNSETTLED, DocumentState.COMPLETED, *RETRYABLE)
#: The states that a document may be in before it enters a state. From DELETING there is no way back.
_BEFORE: Mapping[DocumentState, tuple[DocumentState, ...]] = {
    DocumentState.QUEUED: _ALIVE,
    DocumentState.PARSING: (DocumentState.QUEUED, DocumentState.PARSING),
    DocumentState.PARSED: (DocumentState.PARSING, DocumentState.INDEXING),
    DocumentState.INDEXING: (DocumentState.PARSED, DocumentState.INDEXING),
    DocumentState.COMPLETED: (DocumentState.INDEXING,),
    DocumentState.FAILED: (DocumentState.PARSING, DocumentState.INDEXING),
    DocumentState.CANCELLED: (*UNSETTLED, DocumentState.CANCELLED),
    DocumentState.DELETING: (*_ALIVE, DocumentState.DELETING),
    DocumentState.DELETED: (DocumentState.DELETING,),
}


def check_follows(before: DocumentState, after: DocumentState) -> None:
    """Raise ValueError if no document may change from one state to the other."""
    if before not in _BEFORE[after]:
        raise ValueError(f"a document that is {before} never becomes {after}")


def may_enter(state: DocumentState) -> sa.ColumnElement[bool]:
    """Return the condition for documents whose state may change to this one."""
    # By what it may not be: no plan follows an index of states instead of the documents' ids. And not with `in_`, which
    # statements with a list of parameter sets cannot have.
    return sa.and_(*(documents.c.state != before for before in DocumentState if before not in _BEFORE[state]))


def change(values: Mapping[str, Any]) -> sa.Update:
    """Return the UPDATE that sets these columns. If they have a `state`, it skips documents that may not enter it."""
    statement = sa.update(documents).values(**values)
    return statement.where(may_enter(values["state"])) if "state" in values else statement
