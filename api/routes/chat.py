"""`/v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.conversation_tasks import is_conversation_task
from api.dependencies import CallerDep, JsonRoute, PreferencesDep, ServicesDep
from api.job_calls import Call, respond
from api.known_models import requested_model
from api.render import ChatStream, ToolForm
from api.schemas.answer_format import format_fields
from api.schemas.base import EVENT_STREAM
from api.schemas.chat import ChatCompletion, ChatRequest
from api.schemas.chat import RagOptions as WireRagOptions
from api.schemas.prompt_end import refuse_with_continuation
from api.schemas.rag import MAX_QUERY_CHARACTERS, Job
from api.scopes import needs
from core.keys import Scope
from core.messages import DEFAULT_TOOL_ROUNDS, GenerateRequest, RagOptions
from core.settings import Settings
from tasks.jobs.kinds import CHAT, RAG_CHAT

CHAT_PATH = "/v1/chat/completions"

router = APIRouter(tags=["chat"], route_class=JsonRoute)


@router.post(
    CHAT_PATH,
    responses={200: {"model": ChatCompletion, "content": EVENT_STREAM}, 202: {"model": Job}},
)
@needs(Scope.CHAT)
async def create_chat_completion(
    body: ChatRequest, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Answer a conversation. With `stream`, the answer is sent as server-sent events."""
    body.check()
    requested = await requested_model(services, caller, body.model)
    tools = body.tool_use()
    rag = _rag_options(body, requested.collection, services.settings)
    if rag is not None:
        caller.require(Scope.DOCUMENTS_READ)
    form = body.answer_format()
    if body.continue_final_message:
        names = {"rag": rag, "tools": tools.tools or tools.server, form.param if form else "": form}
        refuse_with_continuation(name for name, value in names.items() if value)
    job = GenerateRequest(
        messages=[turn for message in body.messages for turn in message.turns()],
        sampling=body.sampling(services.settings, logprobs=bool(body.logprobs), top_logprobs=body.top_logprobs or 0),
        max_tokens=body.answer_tokens,
        n=body.n or 1,
        model=body.model,
        rag=rag,
        tools=tools.tools,
        tool_choice=tools.choice,
        tool_name=tools.name,
        parallel_tool_calls=tools.parallel,
        allowed_tools=tools.allowed,
        strict_tools=tools.strict,
        **format_fields(form),
        server_tools=tools.server,
        max_tool_rounds=body.max_tool_rounds or DEFAULT_TOOL_ROUNDS,
        template_options=body.template_options(),
        prompt_end=body.prompt_end(),
    )
    tool_form: ToolForm = "functions" if tools.legacy else "tools"
    params = {} if body.max_completion_tokens is None else {"max_tokens": "max_completion_tokens"}
    options = {"calls": "functions"} if tools.legacy else {}
    call = Call(CHAT if rag is None else RAG_CHAT, job, CHAT_PATH, caller, options, params, model=requested.slug)
    stream = None
    if body.stream:
        stream = ChatStream(call.head, job.n, include_usage=body.include_usage, sources=rag is not None, form=tool_form)
    return await respond(request, services, call, prefer, stream)


def _rag_options(body: ChatRequest, collection: str | None, settings: Settings) -> RagOptions | None:
    """Return what to retrieve, from `rag` and the collection that `model` names, or None for a chat without RAG."""
    if body.rag is None and (collection is None or _is_conversation_task(body, settings)):
        return None
    scope = body.rag or WireRagOptions.model_validate({})
    options = scope.options_within(collection, "rag.collection")
    return RagOptions(
        query=search_query(body.last_question()),
        top_k=scope.top_k or settings.rag_top_k,
        least_share=0.0 if scope.top_k else settings.rag_least_share,
        **options,
    )


def _is_conversation_task(body: ChatRequest, settings: Settings) -> bool:
    last = body.messages[-1]
    text = last.flattened().content if last.role == "user" else None
    return is_conversation_task(text or "", settings.rag_task_pattern)


def search_query(question: str) -> str:
    """Return the part of a question that is searched for. The model reads a long one whole, a search its beginning."""
    return question[:MAX_QUERY_CHARACTERS]
