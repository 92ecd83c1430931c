"""`/v1/embeddings`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, PreferencesDep, Services, ServicesDep
from api.job_calls import Call, respond
from api.known_models import check_model, known_models
from api.schemas.embeddings import EmbeddingList, EmbeddingsRequest
from api.schemas.rag import Job
from api.scopes import needs
from core.errors import InvalidRequest
from core.keys import Scope
from core.messages import EmbedRequest
from tasks.jobs.kinds import EMBEDDINGS

EMBEDDINGS_PATH = "/v1/embeddings"

router = APIRouter(tags=["embeddings"], route_class=JsonRoute)


@router.post(EMBEDDINGS_PATH, responses={200: {"model": EmbeddingList}, 202: {"model": Job}})
@needs(Scope.EMBEDDINGS)
async def create_embeddings(
    body: EmbeddingsRequest, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Return one vector of length 1 for each input, in the order of the inputs."""
    await check_model(services, caller, body.model, "embeddings")
    if body.has_token_ids:
        await _check_vocabulary(services, body.model)
    purpose = body.input_type or "plain"
    job = EmbedRequest(inputs=body.items(), purpose=purpose, dimensions=body.dimensions, model=body.model)
    options = {"encoding_format": body.encoding_format or "float"}
    return await respond(request, services, Call(EMBEDDINGS, job, EMBEDDINGS_PATH, caller, options), prefer)


async def _check_vocabulary(services: Services, model: str | None) -> None:
    """Check that token ids are meant for the model that gets them: an id is another word in another vocabulary.

    Raises:
        InvalidRequest: the request names a model that is not loaded here.
    """
    if model is None or services.settings.embedding_token_ids == "own":  # noqa: S105 - token ids, not a secret
        return
    names = [model.name for model in await known_models(services, "embeddings")]
    if model not in names:
        raise InvalidRequest(
            f"'input' has token ids for the model {model!r}, but this server has {', '.join(names) or 'none'}, whose "
            "ids differ. Send text (LangChain: check_embedding_ctx_length=False), or name the model whose ids "
            "they are; EMBEDDING_TOKEN_IDS=own takes all ids as its own.",
            param="input",
            code="foreign_token_ids",
        )
