"""The models that the live workers have loaded, and the `model` of requests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from api.callers import Caller
from api.dependencies import Services, in_thread
from core.errors import InvalidRequest, NotFound, Unavailable
from core.keys import Scope
from tasks.jobs.queues import Role

ModelKind = Literal["chat", "embeddings", "rerank"]

#: The workers that serve the models of a kind.
_ROLES: dict[ModelKind, Role] = {"chat": Role.INFERENCE, "embeddings": Role.INDEX, "rerank": Role.INDEX}
#: Used for workers that do not say when they became ready.
STARTED_AT = time.time()


@dataclass(frozen=True)
class LoadedModel:
    """A model that a live worker serves. `created` is the Unix time in seconds at which that worker became ready."""

    name: str
    kind: ModelKind
    created: int
    #: Of a language model: where its chat template is from, and whether it marks what it thinks.
    chat_template: str | None = None
    reasons: bool | None = None


async def loaded_models(services: Services, *kinds: ModelKind) -> list[LoadedModel]:
    """Return the models of these kinds that the live workers have, each once.

    Raises:
        Unavailable: Redis does not answer.
    """
    found: dict[str, LoadedModel] = {}
    for kind in kinds:
        for info in (await services.stream.workers(_ROLES[kind])).values():
            for name in _names(kind, info):
                found.setdefault(name, _loaded(name, kind, info))
    return list(found.values())


def _names(kind: ModelKind, info: dict[str, Any]) -> list[str]:
    names = [info.get("rerank_model")] if kind == "rerank" else [_name(info.get("model")), *info.get("models", [])]
    return [name for name in names if name]


def _loaded(name: str, kind: ModelKind, info: dict[str, Any]) -> LoadedModel:
    model = info.get("model")
    known = model if isinstance(model, dict) else {}
    created = int(info.get("started_at") or STARTED_AT)
    return LoadedModel(name, kind, created, known.get("chat_template"), known.get("reasons"))


@dataclass(frozen=True)
class RequestedModel:
    """The `model` of a request: a model's name and, from `MODEL@COLLECTION`, the collection to answer from."""

    name: str | None
    collection: str | None = None


async def requested_model(services: Services, caller: Caller, model: str | None) -> RequestedModel:
    """Parse the `model` of a chat.

    A name with an `@` is a model's name like any other, unless a collection follows the `@`.

    Raises:
        InvalidRequest: the name of a loaded model is followed by `@` and a collection that the caller does not see.
        NotFound: with STRICT_MODELS, no such model is loaded; or the caller may not use it.
        PermissionDenied: a collection follows the `@`, and the caller may not read documents.
    """
    requested = RequestedModel(model)
    if model is not None and "@" in model:
        requested = await _split(services, caller, model)
    await check_model(services, caller, requested.name, "chat")
    return requested


async def _split(services: Services, caller: Caller, model: str) -> RequestedModel:
    loaded = [one.name for one in await loaded_models(services, "chat")]
    if model in loaded:
        return RequestedModel(model)
    collections = await collection_names(services, caller)
    for name in loaded:
        if model.startswith(f"{name}@"):
            caller.require(Scope.DOCUMENTS_READ)
            collection = model.removeprefix(f"{name}@")
            if collection not in collections:
                raise InvalidRequest(f"There is no collection named {collection!r}.", param="model")
            return RequestedModel(name, collection)
    name, _, collection = model.partition("@")
    return RequestedModel(name, collection) if name and collection in collections else RequestedModel(model)


async def collection_names(services: Services, caller: Caller) -> list[str]:
    """Return the names of the collections that the caller may read."""
    names = [collection.name for collection in await in_thread(services.catalog.list_collections)]
    return [name for name in names if caller.readable is None or name in caller.readable]


async def check_model(services: Services, caller: Caller, name: str | None, kind: ModelKind) -> None:
    """Refuse a model that is not loaded, if STRICT_MODELS is set, and one that the caller may not use.

    A name that is not that of a loaded model means the first one, so that is the one that the caller must be allowed.

    Raises:
        NotFound: no live worker has a model of this kind and name, or the caller may not use it.
        Unavailable: the caller is limited to some models, and none is loaded, so it is not known which would be used.
    """
    is_strict = name is not None and services.settings.strict_models
    if not is_strict and caller.rights.models is None:
        return
    loaded = [model.name for model in await loaded_models(services, kind)]
    if caller.rights.models is None:
        if loaded and name not in loaded:
            raise _not_found(name, "is not loaded here (STRICT_MODELS)", loaded)
        return
    if not loaded:
        needed = " that has a RERANK_MODEL" if kind == "rerank" else ""
        raise Unavailable(f"No {_ROLES[kind].value} worker{needed} is running.", code="no_worker")
    served = name if is_strict or name in loaded else loaded[0]
    allowed = [one for one in loaded if caller.may_use_model(one)]
    if served not in allowed:
        raise _not_found(name or served, "is not among those of this API key", allowed)


def _not_found(name: str | None, why: str, allowed: list[str]) -> NotFound:
    return NotFound(
        f"The model {name!r} {why}; these are: {', '.join(allowed) or 'none'}.", param="model", code="model_not_found"
    )


def _name(model: Any) -> str | None:
    return model.get("name") if isinstance(model, dict) else model
