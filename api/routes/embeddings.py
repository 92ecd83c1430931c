"""`/v1/embeddings`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import JsonRoute, KeyDep, PreferencesDep, ServicesDep, json_response
from api.job_calls import Call, answer_of, submit_async
from api.loaded_models import check_model
from api.render import embedding_list
from api.schemas.embeddings import EmbeddingList, EmbeddingsRequest
from api.schemas.rag import Job
from core.messages import EmbedRequest
from tasks.jobs.names import Role

EMBEDDINGS_PATH = "/v1/embeddings"

router = APIRouter(tags=["embeddings"], route_class=JsonRoute)


@router.post(EMBEDDINGS_PATH, responses={200: {"model": EmbeddingList}, 202: {"model": Job}})
async def create_embeddings(
    body: EmbeddingsRequest, request: Request, services: ServicesDep, key: KeyDep, prefer: PreferencesDep
) -> Response:
    """One vector for each input, in their order, of length 1."""
    await check_model(services, body.model, Role.INDEX)
    encoding_format = body.encoding_format or "float"
    purpose = body.input_type or "plain"
    job = EmbedRequest(inputs=body.items(), purpose=purpose, dimensions=body.dimensions, model=body.model)
    call = Call("embeddings", job, f"{EMBEDDINGS_PATH}?encoding_format={encoding_format}", key)
    if prefer.respond_async:
        return await submit_async(services, call)
    return json_response(embedding_list(await answer_of(request, services, call), encoding_format))
