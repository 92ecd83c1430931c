"""The models that the live workers have loaded, and the `model` of requests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from api.dependencies import Services, in_thread
from core.errors import InvalidRequest, NotFound
from tasks.jobs.queues import Role

#: Used for workers that do not say when they became ready.
STARTED_AT = time.time()


@dataclass(frozen=True)
class LoadedModel:
    """A model that a live worker serves. `created` is the Unix time in seconds at which that worker became ready."""

    name: str
    role: Role
    created: int


async def loaded_models(services: Services, *roles: Role) -> list[LoadedModel]:
    """Return the models of the live workers, each once.

    Raises:
        Unavailable: Redis does not answer.
    """
    found: dict[str, LoadedModel] = {}
    for role in roles:
        for info in (await services.stream.workers(role)).values():
            for name in filter(None, [_name(info.get("model")), *info.get("models", [])]):
                found.setdefault(name, LoadedModel(name, role, int(info.get("started_at") or STARTED_AT)))
    return list(found.values())


@dataclass(frozen=True)
class RequestedModel:
    """The `model` of a request: a model's name and, from `MODEL@COLLECTION`, the collection to answer from."""

    name: str | None
    collection: str | None = None


async def requested_model(services: Services, model: str | None) -> RequestedModel:
    """Parse the `model` of a chat.

    A name with an `@` is a model's name like any other, unless a collection follows the `@`.

    Raises:
        InvalidRequest: the name of a loaded model is followed by `@` and a collection that does not exist.
        NotFound: with STRICT_MODELS, no such model is loaded.
    """
    requested = await _split(services, model) if model is not None and "@" in model else RequestedModel(model)
    await check_model(services, requested.name, Role.INFERENCE)
    return requested


async def _split(services: Services, model: str) -> RequestedModel:
    loaded = [one.name for one in await loaded_models(services, Role.INFERENCE)]
    if model in loaded:
        return RequestedModel(model)
    collections = await collection_names(services)
    for name in loaded:
        if model.startswith(f"{name}@"):
            collection = model.removeprefix(f"{name}@")
            if collection not in collections:
                raise InvalidRequest(f"There is no collection named {collection!r}.", param="model")
            return RequestedModel(name, collection)
    name, _, collection = model.partition("@")
    return RequestedModel(name, collection) if name and collection in collections else RequestedModel(model)


async def collection_names(services: Services) -> list[str]:
    """Return the names of all collections."""
    return [collection.name for collection in await in_thread(services.catalog.list_collections)]


async def check_model(services: Services, name: str | None, role: Role) -> None:
    """Refuse the name of a model that is not loaded, if STRICT_MODELS is set.

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
