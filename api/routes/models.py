"""`/v1/models`: the loaded models."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.responses import Response

from api.callers import Caller
from api.dependencies import CallerDep, JsonRoute, Services, ServicesDep, json_response
from api.loaded_models import LoadedModel, collection_names, loaded_models
from api.render import Wire
from api.schemas.base import ListAnswer, Model
from api.scopes import needs
from core.errors import NotFound

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)


@router.get("", responses={200: {"model": ListAnswer[Model]}})
@needs()
async def list_models(caller: CallerDep, services: ServicesDep) -> Response:
    """List the loaded models: the language model, `MODEL@COLLECTION` for each collection, and the embedding models.

    The reranker comes last.
    """
    return json_response({"object": "list", "data": await _models(services, caller), "has_more": False})


@router.get("/{model_id:path}", responses={200: {"model": Model}})
@needs()
async def get_model(model_id: str, caller: CallerDep, services: ServicesDep) -> Response:
    """Return a loaded model."""
    for model in await _models(services, caller):
        if model["id"] == model_id:
            return json_response(model)
    raise NotFound(f"The model {model_id!r} is not loaded.", param="model", code="model_not_found")


async def _models(services: Services, caller: Caller) -> list[Wire]:
    loaded = await loaded_models(services, "chat", "embeddings", "rerank")
    models = [model for model in loaded if caller.may_use_model(model.name)]
    chat = [model for model in models if model.kind == "chat"]
    names = await collection_names(services, caller) if chat else []
    with_collections = [
        _wire(replace(model, name=f"{model.name}@{name}")) | {"collection": name} for model in chat for name in names
    ]
    plain = [_wire(model) for model in models]
    return [*plain[: len(chat)], *with_collections, *plain[len(chat) :]]


def _wire(model: LoadedModel) -> Wire:
    wire: Wire = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "llm-api",
        "kind": model.kind,
    }
    extensions = {"chat_template": model.chat_template, "reasoning": model.reasons}
    return wire | {name: value for name, value in extensions.items() if value is not None}
