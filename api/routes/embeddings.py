"""`/v1/embeddings`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import JsonRoute, KeyDep, PreferencesDep, ServicesDep
from api.job_calls import Call, respond
from api.loaded_models import check_model
from api.schemas.embeddings import EmbeddingList, EmbeddingsRequest
from api.schemas.rag import Job
from core.messages import EmbedRequest
from tasks.jobs.kinds import EMBEDDINGS
from tasks.jobs.queues import Role

EMBEDDINGS_PATH = "/v1/embeddings"

router = APIRouter(tags=["embeddings"], route_class=JsonRoute)


@router.post(EMBEDDINGS_PATH, responses={200: {"model": EmbeddingList}, 202: {"model": Job}})
async def create_embeddings(
    body: EmbeddingsRequest, request: Request, services: ServicesDep, key: KeyDep, prefer: PreferencesDep
) -> Response:
    """Return one vector of length 1 for each input, in the order of the inputs."""
    await check_model(services, body.model, Role.INDEX)
    purpose = body.input_type or "plain"
    job = EmbedRequest(inputs=body.items(), purpose=purpose, dimensions=body.dimensions, model=body.model)
    options = {"encoding_format": body.encoding_format or "float"}
    return await respond(request, services, Call(EMBEDDINGS, job, EMBEDDINGS_PATH, key, options), prefer)
