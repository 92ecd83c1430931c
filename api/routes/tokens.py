"""`/v1/tokenize` and `/v1/detokenize`. The model is in the inference worker, which serves them beside generation."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, PreferencesDep, ServicesDep
from api.job_calls import Call, respond
from api.known_models import requested_model
from api.schemas.rag import Job
from api.schemas.tokens import DetokenizeBody, DetokenizedText, TokenizeBody, TokenList
from api.schemas.tools import tool_use
from api.scopes import needs
from core.keys import Scope
from core.messages import DetokenizeRequest, TokenizeRequest
from tasks.jobs.kinds import DETOKENIZE, TOKENIZE

TOKENIZE_PATH, DETOKENIZE_PATH = "/v1/tokenize", "/v1/detokenize"

router = APIRouter(tags=["tokens"], route_class=JsonRoute)


@router.post(TOKENIZE_PATH, responses={200: {"model": TokenList}, 202: {"model": Job}})
@needs(Scope.CHAT)
async def tokenize(
    body: TokenizeBody, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Return the token ids of a text, or of the prompt that a chat has."""
    body.check()
    requested = await requested_model(services, caller, body.model)
    job = TokenizeRequest(
        text=body.prompt,
        parse_special=body.parse_special is not False,
        add_special_tokens=body.add_special_tokens is not False,
        token_texts=bool(body.return_token_strs),
        messages=[turn for message in body.messages or () for turn in message.turns()],
        tools=tool_use(body.tools, None, []).tools,
        prompt_end=body.prompt_end(),
        model=body.model,
    )
    call = Call(TOKENIZE, job, TOKENIZE_PATH, caller, model=requested.slug)
    return await respond(request, services, call, prefer)


@router.post(DETOKENIZE_PATH, responses={200: {"model": DetokenizedText}, 202: {"model": Job}})
@needs(Scope.CHAT)
async def detokenize(
    body: DetokenizeBody, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Return the text of tokens, that of control tokens included."""
    requested = await requested_model(services, caller, body.model)
    job = DetokenizeRequest(tokens=body.tokens, model=body.model)
    call = Call(DETOKENIZE, job, DETOKENIZE_PATH, caller, model=requested.slug)
    return await respond(request, services, call, prefer)
