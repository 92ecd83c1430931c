"""`/v1/models`: what is loaded."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import JsonRoute, ServicesDep, json_response
from api.loaded_models import LoadedModel, loaded_models
from api.render import Wire
from api.schemas.base import ListAnswer, Model
from core.errors import NotFound
from tasks.names import Role

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)


@router.get("", responses={200: {"model": ListAnswer[Model]}})
async def list_models(services: ServicesDep) -> Response:
    """The language model and the embedding model."""
    models = await loaded_models(services, Role.INFERENCE, Role.INDEX)
    return json_response({"object": "list", "data": [_wire(model) for model in models], "has_more": False})


@router.get("/{model_id:path}", responses={200: {"model": Model}})
async def get_model(model_id: str, services: ServicesDep) -> Response:
    """One loaded model."""
    for model in await loaded_models(services, Role.INFERENCE, Role.INDEX):
        if model.name == model_id:
            return json_response(_wire(model))
    raise NotFound(f"The model {model_id!r} is not loaded.", param="model", code="model_not_found")


def _wire(model: LoadedModel) -> Wire:
    kind = "chat" if model.role is Role.INFERENCE else "embeddings"
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "llm-api", "kind": kind}
