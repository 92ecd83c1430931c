"""Objects that a route names, if its caller sees them. Others are answered like ones that do not exist."""

from __future__ import annotations

from api.callers import Caller
from api.dependencies import Services, in_thread
from core.catalog import Collection, Document, Job
from core.errors import NotFound


async def visible_collection(services: Services, caller: Caller, name_or_id: str) -> Collection:
    """Return a collection. Raise NotFound if there is none that the caller sees."""
    found: Collection = await in_thread(services.catalog.get_collection, name_or_id)
    if not caller.reach.sees(found.name):
        raise NotFound(f"There is no collection {name_or_id!r}.", param="collection")
    return found


async def own_collection(services: Services, caller: Caller, name_or_id: str) -> Collection:
    """Return a collection that the caller may change.

    Raises:
        NotFound: there is none that the caller sees.
        PermissionDenied: another owner made it.
    """
    found = await visible_collection(services, caller, name_or_id)
    caller.require_own(f"The collection {found.name!r}", found.owner)
    return found


async def visible_document(services: Services, caller: Caller, document_id: str) -> Document:
    """Return a document. Raise NotFound if there is none in the collections that the caller sees."""
    found: Document = await in_thread(services.catalog.get_document, document_id)
    if not caller.reach.sees(found.collection):
        raise NotFound(f"No document with the id {document_id!r}.", param="document_id")
    return found


async def require_own_document(services: Services, caller: Caller, document_id: str) -> None:
    """Check that the caller may change a document.

    Raises:
        NotFound: there is none that the caller sees.
        PermissionDenied: another owner made it.
    """
    found = await visible_document(services, caller, document_id)
    caller.require_own(f"The document {document_id!r}", found.owner)


async def visible_job(services: Services, caller: Caller, job_id: str) -> Job:
    """Return a job. Raise NotFound if there is none that the caller sees."""
    job: Job = await in_thread(services.catalog.get_job, job_id, caller.job_reach)
    return job
