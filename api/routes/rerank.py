"""`/v1/rerank`. The model is in the index worker, which uses it for searches too."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, PreferencesDep, ServicesDep
from api.job_calls import Call, respond
from api.known_models import check_model
from api.schemas.rag import Job
from api.schemas.rerank import RerankBody, RerankResults
from api.scopes import needs
from core.keys import Scope
from core.messages import RerankRequest
from tasks.jobs.kinds import RERANK

RERANK_PATH = "/v1/rerank"

router = APIRouter(tags=["rerank"], route_class=JsonRoute)


@router.post(RERANK_PATH, responses={200: {"model": RerankResults}, 202: {"model": Job}})
@needs(Scope.EMBEDDINGS)
async def rerank(
    body: RerankBody, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Return the documents that answer the query best, best first."""
    body.check()
    await check_model(services, caller, body.model, "rerank")
    job = RerankRequest(
        query=body.query,
        documents=body.texts(),
        top_n=body.top_n,
        return_documents=bool(body.return_documents),
    )
    return await respond(request, services, Call(RERANK, job, RERANK_PATH, caller), prefer)
