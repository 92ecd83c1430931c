"""`/v1/models`: the loaded models."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import JsonRoute, Services, ServicesDep, json_response
from api.loaded_models import LoadedModel, collection_names, loaded_models
from api.render import Wire
from api.schemas.base import ListAnswer, Model
from core.errors import NotFound
from tasks.jobs.queues import Role

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)


@router.get("", responses={200: {"model": ListAnswer[Model]}})
async def list_models(services: ServicesDep) -> Response:
    """List the loaded models: the language model, `MODEL@COLLECTION` for each collection, and the embedding models."""
    return json_response({"object": "list", "data": await _models(services), "has_more": False})


@router.get("/{model_id:path}", responses={200: {"model": Model}})
async def get_model(model_id: str, services: ServicesDep) -> Response:
    """Return a loaded model."""
    for model in await _models(services):
        if model["id"] == model_id:
            return json_response(model)
    raise NotFound(f"The model {model_id!r} is not loaded.", param="model", code="model_not_found")


async def _models(services: Services) -> list[Wire]:
    models = await loaded_models(services, Role.INFERENCE, Role.INDEX)
    chat = [model for model in models if model.role is Role.INFERENCE]
    names = await collection_names(services) if chat else []
    with_collections = [
        _wire(replace(model, name=f"{model.name}@{name}")) | {"collection": name} for model in chat for name in names
    ]
    plain = [_wire(model) for model in models]
    return [*plain[: len(chat)], *with_collections, *plain[len(chat) :]]


def _wire(model: LoadedModel) -> Wire:
    kind = "chat" if model.role is Role.INFERENCE else "embeddings"
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "llm-api", "kind": kind}
