"""Which models the live workers have loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from api.dependencies import Services, in_thread
from core.errors import InvalidRequest, NotFound
from tasks.jobs.queues import Role

#: Stands in for the time at which a worker was ready, where it does not say so.
STARTED_AT = time.time()


@dataclass(frozen=True)
class LoadedModel:
    """A model that a live worker serves. `created`: when that worker was ready, in Unix seconds."""

    name: str
    role: Role
    created: int


async def loaded_models(services: Services, *roles: Role) -> list[LoadedModel]:
    """The models of the live workers, each once. Raises Unavailable when Redis does not answer."""
    found: dict[str, LoadedModel] = {}
    for role in roles:
        for info in (await services.stream.workers(role)).values():
            for name in filter(None, [_name(info.get("model")), *info.get("models", [])]):
                found.setdefault(name, LoadedModel(name, role, int(info.get("started_at") or STARTED_AT)))
    return list(found.values())


@dataclass(frozen=True)
class AskedModel:
    """What the `model` of a request names: a model, and with `MODEL@COLLECTION` documents to answer from."""

    name: str | None
    collection: str | None = None


async def asked_model(services: Services, asked: str | None) -> AskedModel:
    """Reads `model` of a chat. A name with an `@` that means no collection is the name of a model like any other.

    Raises:
        InvalidRequest: behind the name of a loaded model stands a collection that there is not.
        NotFound: with STRICT_MODELS, no such model is loaded.
    """
    found = await _split(services, asked) if asked is not None and "@" in asked else AskedModel(asked)
    await check_model(services, found.name, Role.INFERENCE)
    return found


async def _split(services: Services, asked: str) -> AskedModel:
    loaded = [model.name for model in await loaded_models(services, Role.INFERENCE)]
    if asked in loaded:
        return AskedModel(asked)
    collections = await collection_names(services)
    for name in loaded:
        if asked.startswith(f"{name}@"):
            collection = asked.removeprefix(f"{name}@")
            if collection not in collections:
                raise InvalidRequest(f"There is no collection named {collection!r}.", param="model")
            return AskedModel(name, collection)
    name, _, collection = asked.partition("@")
    return AskedModel(name, collection) if name and collection in collections else AskedModel(asked)


async def collection_names(services: Services) -> list[str]:
    """All collections, by name."""
    return [collection.name for collection in await in_thread(services.catalog.list_collections)]


async def check_model(services: Services, name: str | None, role: Role) -> None:
    """With STRICT_MODELS, refuses the name of a model that is not loaded.

    Raises:
        NotFound: no live worker of the role has a model of this name.
    """
    if name is None or not services.settings.strict_models:
        return
    loaded = [model.name for model in await loaded_models(services, role)]
    if loaded and name not in loaded:
        raise NotFound(
            f"The model {name!r} is not loaded here (STRICT_MODELS); these are: {', '.join(loaded)}.",
            param="model",
            code="model_not_found",
        )


def _name(model: Any) -> str | None:
    return model.get("name") if isinstance(model, dict) else model
