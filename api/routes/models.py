"""`/v1/models`: the models that are loaded or can be."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.responses import Response

from api.callers import Caller
from api.dependencies import CallerDep, JsonRoute, Services, ServicesDep, in_thread, json_response
from api.known_models import KnownModel, collection_names, find_model, known_models, model_wire
from api.render import Wire
from api.schemas import pull as schema
from api.schemas.base import ListAnswer, Model
from api.scopes import needs
from core.errors import InvalidRequest, NotFound
from core.keys import Scope
from core.models.names import check_model_name
from core.models.recommended import Memory, RecommendedModel, best_for, recommended_models

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)


@router.get("", responses={200: {"model": ListAnswer[Model]}})
@needs()
async def list_models(caller: CallerDep, services: ServicesDep) -> Response:
    """List the models: the language models, `MODEL@COLLECTION` of the loaded ones, and the embedding models.

    The default language model comes first, the reranker last.
    """
    return json_response({"object": "list", "data": await _models(services, caller), "has_more": False})


@router.get("/recommended", responses={200: {"model": schema.RecommendedModels}})
@needs()
async def list_recommended() -> Response:
    """List models for common machines, from the smallest to the largest, and which one suits the server's machine."""
    memory: Memory = await in_thread(Memory.of_this_machine)
    known: list[RecommendedModel] = await in_thread(recommended_models)
    best = best_for(memory, known)
    return json_response(
        {
            "object": "list",
            "data": [_recommended_wire(model, fits=memory.fits(model), is_best=model is best) for model in known],
            "has_more": False,
            "memory_bytes": memory.main_bytes,
            "gpu_memory_bytes": memory.gpu_bytes,
        }
    )


def _recommended_wire(model: RecommendedModel, *, fits: bool, is_best: bool) -> Wire:
    return {
        "id": str(model.reference),
        "object": "recommended_model",
        "size_bytes": model.bytes,
        "memory_bytes": model.memory_bytes,
        "licence": model.licence,
        "purpose": model.purpose,
        "fits": fits,
        "best": is_best,
    }


@router.post("/{model}/load", status_code=202, responses={202: {"model": Model}})
@needs(Scope.ADMIN)
async def load_model(model: str, services: ServicesDep) -> Response:
    """Have a language model loaded. Its `state` says when it is."""
    found = await _language_model(services, model)
    if found.problem:
        raise InvalidRequest(found.problem, param="model", code="model_not_usable")
    if found.state != "loaded":
        await in_thread(services.catalog.want_model, found.slug)
    return json_response(model_wire(found), 202)


@router.post("/{model}/unload", status_code=202, responses={202: {"model": Model}})
@needs(Scope.ADMIN)
async def unload_model(model: str, services: ServicesDep) -> Response:
    """Have a language model unloaded. What it is answering ends first."""
    found = await _language_model(services, model)
    await in_thread(services.catalog.unwant_model, found.slug)
    return json_response(model_wire(found), 202)


@router.post("/{model}/default", responses={200: {"model": Model}})
@needs(Scope.ADMIN)
async def make_default(model: str, services: ServicesDep) -> Response:
    """Make a language model the one that answers requests which name no known model."""
    found = await _language_model(services, model)
    await in_thread(services.catalog.set_default_model, found.slug)
    return json_response(model_wire(replace(found, is_default=True)))


@router.get("/{model_id:path}", responses={200: {"model": Model}})
@needs()
async def get_model(model_id: str, caller: CallerDep, services: ServicesDep) -> Response:
    """Return a model."""
    for model in await _models(services, caller):
        if model["id"] == model_id:
            return json_response(model)
    raise NotFound(f"There is no model {model_id!r}.", param="model", code="model_not_found")


async def _language_model(services: Services, name: str) -> KnownModel:
    check_model_name(name)
    known = await known_models(services, "chat")
    found = find_model(known, name)
    if found is None:
        names = ", ".join(model.name for model in known) or "none"
        raise NotFound(
            f"There is no language model {name!r}; these are: {names}.", param="model", code="model_not_found"
        )
    return found


async def _models(services: Services, caller: Caller) -> list[Wire]:
    known = await known_models(services, "chat", "embeddings", "rerank")
    models = [model for model in known if caller.may_use_model(model.name)]
    chat = [model for model in models if model.kind == "chat"]
    names = await collection_names(services, caller) if chat else []
    # Not of each model on a disk: hundreds of them, for hundreds of collections, would be a list that nobody reads.
    loaded = [model for model in chat if model.state == "loaded"]
    with_collections = [
        model_wire(replace(model, name=f"{model.name}@{name}")) | {"collection": name}
        for model in loaded
        for name in names
    ]
    plain = [model_wire(model) for model in models]
    return [*plain[: len(chat)], *with_collections, *plain[len(chat) :]]
