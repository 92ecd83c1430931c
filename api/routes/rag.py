"""`/v1/rag/search`, `/v1/rag/chat` and `/v1/rag/evaluations`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admission import admit
from api.dependencies import CallerDep, JsonRoute, PreferencesDep, ServicesDep
from api.job_calls import Call, respond, submit_async
from api.known_models import requested_model
from api.render import ChatStream
from api.schemas import evaluation as evaluation_schema
from api.schemas import rag as schema
from api.schemas.answer_format import format_fields, only_format
from api.schemas.base import EVENT_STREAM
from api.scopes import needs
from core.errors import InvalidRequest
from core.keys import Scope
from core.messages import GenerateRequest, RagOptions, SamplingParams, SearchRequest
from core.settings import Settings
from tasks.jobs.kinds import EVALUATION, RAG_CHAT, SEARCH

SEARCH_PATH = "/v1/rag/search"
EVALUATIONS_PATH = "/v1/rag/evaluations"
RAG_CHAT_PATH = "/v1/rag/chat"

router = APIRouter(tags=["rag"], route_class=JsonRoute)


@router.post(SEARCH_PATH, responses={200: {"model": schema.SearchResults}, 202: {"model": schema.Job}})
@needs(Scope.DOCUMENTS_READ)
async def search(
    body: schema.SearchRequest, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Find the chunks that match a query best."""
    job = SearchRequest(
        queries=body.queries(),
        top_k=body.top_k or services.settings.rag_top_k,
        explain=body.explain,
        **body.options(),
    )
    return await respond(request, services, Call(SEARCH, job, SEARCH_PATH, caller), prefer)


@router.post(EVALUATIONS_PATH, status_code=202, responses={202: {"model": schema.Job}})
@needs(Scope.DOCUMENTS_READ)
async def evaluate(body: evaluation_schema.EvaluationRequest, services: ServicesDep, caller: CallerDep) -> Response:
    """Measure how well searches find what questions expect, with several settings side by side. Always a job."""
    await admit(services, caller, is_async=True)
    job = body.message(services.settings.rag_top_k)
    return await submit_async(services, Call(EVALUATION, job, EVALUATIONS_PATH, caller))


@router.post(
    RAG_CHAT_PATH,
    responses={200: {"model": schema.RagCompletion, "content": EVENT_STREAM}, 202: {"model": schema.Job}},
)
@needs(Scope.CHAT, Scope.DOCUMENTS_READ)
async def rag_chat(
    body: schema.RagChatRequest, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Answer a question from the documents. With `stream`, the events are those of a chat, the first with `sources`."""
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    requested = await requested_model(services, caller, body.model)
    params = {} if body.messages else {"messages": "query"}
    job = _generate_request(body, requested.collection, services.settings)
    call = Call(RAG_CHAT, job, RAG_CHAT_PATH, caller, params=params, model=requested.slug)
    include_usage = bool(body.stream_options and body.stream_options.include_usage)
    stream = ChatStream(call.head, include_usage=include_usage, sources=True) if body.stream else None
    return await respond(request, services, call, prefer, stream)


def _generate_request(body: schema.RagChatRequest, collection: str | None, settings: Settings) -> GenerateRequest:
    sampling: dict[str, Any] = {"temperature": settings.temperature if body.temperature is None else body.temperature}
    if body.top_p is not None:
        sampling["top_p"] = body.top_p
    return GenerateRequest(
        messages=body.conversation(),
        sampling=SamplingParams(**sampling, seed=body.seed),
        max_tokens=body.max_tokens,
        model=body.model,
        rag=RagOptions(
            query=body.query,
            top_k=body.num_context_docs or settings.rag_top_k,
            # Who asks for a number of passages gets them.
            least_share=0.0 if body.num_context_docs else settings.rag_least_share,
            **body.options_within(collection),
        ),
        template_options=body.template_options(),
        **format_fields(only_format(body.formats())),
    )
