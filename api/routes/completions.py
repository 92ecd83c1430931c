"""`/v1/completions`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, PreferencesDep, ServicesDep
from api.job_calls import Call, respond
from api.known_models import requested_model
from api.schemas.answer_format import format_fields, only_format
from api.schemas.base import EVENT_STREAM
from api.schemas.completions import CompletionRequest, TextCompletion
from api.schemas.rag import Job
from api.scopes import needs
from api.text_completions import CompletionStream
from core.errors import InvalidRequest
from core.keys import Scope
from core.messages import CompleteRequest
from tasks.jobs.kinds import COMPLETION

COMPLETIONS_PATH = "/v1/completions"

router = APIRouter(tags=["completions"], route_class=JsonRoute)


@router.post(
    COMPLETIONS_PATH,
    responses={200: {"model": TextCompletion, "content": EVENT_STREAM}, 202: {"model": Job}},
)
@needs(Scope.CHAT)
async def create_completion(
    body: CompletionRequest, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Continue prompts as they are, without a chat template. Choice p * n + i is completion i of prompt p."""
    body.check()
    requested = await requested_model(services, caller, body.model)
    if requested.collection is not None:
        raise InvalidRequest(
            f"A raw completion reads no documents. Use /v1/chat/completions to answer from {requested.collection!r}.",
            param="model",
        )
    prompts, n = body.prompts(), body.n or 1
    job = CompleteRequest(
        prompts=prompts,
        sampling=body.completion_sampling(services.settings),
        max_tokens=body.completion_tokens,
        n=n,
        model=body.model,
        suffix=body.suffix or None,
        echo=bool(body.echo),
        add_special_tokens=body.add_special_tokens is not False,
        **format_fields(only_format(body.formats())),
    )
    options = {} if body.logprobs is None else {"logprobs": str(body.logprobs)}
    call = Call(COMPLETION, job, COMPLETIONS_PATH, caller, options, model=requested.slug)
    stream = None
    if body.stream:
        stream = CompletionStream(call.head, len(prompts) * n, include_usage=body.include_usage, top=body.logprobs)
    return await respond(request, services, call, prefer, stream)
