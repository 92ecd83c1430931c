"""The models that live workers have loaded or supervisors can load, and the `model` of requests."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from api.callers import Caller
from api.dependencies import Services, in_thread
from api.render import Wire
from core.errors import InvalidRequest, NotFound, Unavailable
from core.keys import Scope
from core.models.names import model_slug
from tasks.jobs.queues import Role

ModelKind = Literal["chat", "embeddings", "rerank"]
#: `available`: it is on the disk of a host whose supervisor loads it when it is wanted.
ModelState = Literal["available", "loading", "loaded", "failed"]

#: The workers that serve the models of a kind.
_ROLES: dict[ModelKind, Role] = {"chat": Role.INFERENCE, "embeddings": Role.INDEX, "rerank": Role.INDEX}
#: Used for workers that do not say when they became ready.
STARTED_AT = time.time()


@dataclass(frozen=True)
class KnownModel:
    """A model that this server can use. `created` is the Unix time in seconds since when it is known."""

    name: str
    kind: ModelKind
    created: int
    state: ModelState = "loaded"
    #: Of a language model: the slug of its name, by which its queues are named.
    slug: str = ""
    #: Whether it answers requests that name no known model.
    is_default: bool = False
    #: Why it cannot be used; "": it can.
    problem: str = ""
    #: Of a language model: where its chat template is from, and whether it marks what it thinks.
    chat_template: str | None = None
    reasons: bool | None = None
    context_length: int | None = None
    #: Of its files.
    size_bytes: int | None = None
    quantization: str | None = None
    parameters: int | None = None
    #: Whether it is the small model that the program brings to show how everything works.
    is_demonstration: bool = False


async def known_models(services: Services, *kinds: ModelKind) -> list[KnownModel]:
    """Return the models of these kinds, each once; of the language models, the default one first.

    Raises:
        Unavailable: Redis or the catalog does not answer.
    """
    found: list[KnownModel] = []
    for kind in kinds:
        workers = (await services.stream.workers(_ROLES[kind])).values()
        if kind == "chat":
            found += await _language_models(services, workers)
        else:
            loaded = {name: KnownModel(name, kind, _created(info)) for info in workers for name in _names(kind, info)}
            found += loaded.values()
    return found


async def _language_models(services: Services, workers: Iterable[dict[str, Any]]) -> list[KnownModel]:
    supervisors = (await services.stream.workers(Role.SUPERVISOR)).values()
    on_disk = [_on_disk(model, info) for info in supervisors for model in info.get("models", ())]
    loaded = [_loaded(info) for info in workers if _names("chat", info)]
    found: dict[str, KnownModel] = {}
    # A model may be on the disks of several hosts, or be served by several workers.
    for model in sorted(on_disk, key=lambda one: one.state != "loading"):
        found.setdefault(model.name, model)
    for model in loaded:
        known = found.get(model.name)
        found[model.name] = replace(model, **_facts(known)) if known else model
    default = await _default_slug(services, list(found.values()), is_supervised=bool(supervisors))
    models = [replace(model, is_default=model.slug == default) for model in found.values()]
    return sorted(models, key=lambda model: not model.is_default)


async def _default_slug(services: Services, models: Sequence[KnownModel], *, is_supervised: bool) -> str | None:
    """Return the slug of the default model: the one that somebody chose, or the one that was configured.

    Supervisors say which it is, so that not every request has to ask the catalog.
    """
    wishes = [] if is_supervised else await in_thread(services.catalog.model_wishes)
    chosen = {wish.model for wish in wishes if wish.is_default}
    candidates = [model for model in models if model.slug in chosen] or [model for model in models if model.is_default]
    return min(candidates or models, key=lambda model: model.created).slug if models else None


def _facts(known: KnownModel) -> dict[str, Any]:
    """Return what the files of a model tell, and its worker does not."""
    return {name: getattr(known, name) for name in ("is_default", "size_bytes", "quantization")}


def _names(kind: ModelKind, info: dict[str, Any]) -> list[str]:
    names = [info.get("rerank_model")] if kind == "rerank" else [_name(info.get("model")), *info.get("models", [])]
    return [name for name in names if name]


def _created(info: dict[str, Any]) -> int:
    return int(info.get("started_at") or STARTED_AT)


def _loaded(info: dict[str, Any]) -> KnownModel:
    model = info.get("model")
    known = model if isinstance(model, dict) else {}
    return KnownModel(
        str(_name(model)),
        "chat",
        _created(info),
        slug=info.get("slug") or "",
        is_default=bool(info.get("serves_any")),
        chat_template=known.get("chat_template"),
        reasons=known.get("reasons"),
        context_length=known.get("context_length"),
        parameters=known.get("parameters"),
        is_demonstration=bool(known.get("is_starter")),
    )


def _on_disk(model: dict[str, Any], info: dict[str, Any]) -> KnownModel:
    return KnownModel(
        model["name"],
        "chat",
        _created(info),
        # Its worker says that it is loaded.
        state="loading" if model["state"] == "loaded" else model["state"],
        slug=model["slug"],
        is_default=bool(model["is_default"]),
        problem=model["problem"],
        context_length=model["context_length"],
        size_bytes=model["size_bytes"],
        quantization=model["quantization"],
        parameters=model["parameters"],
    )


@dataclass(frozen=True)
class RequestedModel:
    """The `model` of a request: a model's name and, from `MODEL@COLLECTION`, the collection to answer from."""

    name: str | None
    collection: str | None = None
    #: The slug of the model that does the work; "": whichever serves the default one.
    slug: str = ""


async def requested_model(services: Services, caller: Caller, model: str | None) -> RequestedModel:
    """Parse the `model` of a chat, and have its model loaded if it is not.

    A name with an `@` is a model's name like any other, unless a collection follows the `@`.

    Raises:
        InvalidRequest: the name of a known model is followed by `@` and a collection that the caller does not see, or
            the model cannot be loaded.
        NotFound: with STRICT_MODELS, there is no such model; or the caller may not use it.
        PermissionDenied: a collection follows the `@`, and the caller may not read documents.
    """
    must_be_known = services.settings.strict_models or caller.rights.models is not None
    try:
        known = await known_models(services, "chat")
    except Unavailable:
        if must_be_known:
            raise
        # An asynchronous job is accepted nevertheless, and gets its model when it is submitted.
        known = []
    requested = RequestedModel(model)
    if model is not None and "@" in model:
        requested = await _split(services, caller, model, known)
    found = _checked(services, caller, requested.name, "chat", known)
    if found is None:
        return requested
    if found.problem:
        raise InvalidRequest(found.problem, param="model", code="model_not_usable")
    if found.state in ("available", "failed"):
        await in_thread(services.catalog.want_model, found.slug)
    return replace(requested, slug=found.slug)


async def _split(services: Services, caller: Caller, model: str, known: Sequence[KnownModel]) -> RequestedModel:
    names = [one.name for one in known]
    if model in names:
        return RequestedModel(model)
    collections = await collection_names(services, caller)
    for name in names:
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
    """Refuse a model that is not known, if STRICT_MODELS is set, and one that the caller may not use.

    Raises:
        NotFound: no live worker has a model of this kind and name, or the caller may not use it.
        Unavailable: the caller is limited to some models, and none is loaded, so it is not known which would be used.
    """
    if (name is not None and services.settings.strict_models) or caller.rights.models is not None:
        _checked(services, caller, name, kind, await known_models(services, kind))


def find_model(known: Sequence[KnownModel], name: str | None) -> KnownModel | None:
    """Return the model of this name, or the only one whose name differs in case and punctuation alone, or None."""
    exact = [model for model in known if model.name == name]
    if exact or name is None:
        return exact[0] if exact else None
    return next((model for model in known if model.slug and model.slug == model_slug(name)), None)


def _checked(
    services: Services, caller: Caller, name: str | None, kind: ModelKind, known: Sequence[KnownModel]
) -> KnownModel | None:
    """Return the model that serves a request, or None if none is known yet.

    An unknown name means the first one, so that is the one that the caller must be allowed.
    """
    found = find_model(known, name)
    is_strict = name is not None and services.settings.strict_models
    if found is None and is_strict and known and caller.rights.models is None:
        raise _not_found(name, "is not known here (STRICT_MODELS)", [model.name for model in known])
    if caller.rights.models is not None:
        if not known:
            needed = " that has a RERANK_MODEL" if kind == "rerank" else ""
            raise Unavailable(f"No {_ROLES[kind].value} worker{needed} is running.", code="no_worker")
        allowed = [model for model in known if caller.may_use_model(model.name)]
        if (found or (None if is_strict else known[0])) not in allowed:
            raise _not_found(
                name or known[0].name, "is not among those of this API key", [model.name for model in allowed]
            )
    return found or (known[0] if known else None)


def _not_found(name: str | None, why: str, allowed: list[str]) -> NotFound:
    return NotFound(
        f"The model {name!r} {why}; these are: {', '.join(allowed) or 'none'}.", param="model", code="model_not_found"
    )


def model_wire(model: KnownModel) -> Wire:
    """Return a model in the form of the API."""
    wire: Wire = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "llm-api",
        "kind": model.kind,
        "state": model.state,
        "capabilities": _capabilities(model),
    }
    extensions = {
        "default": model.is_default or None,
        "problem": model.problem or None,
        "demonstration": model.is_demonstration or None,
        "context_length": model.context_length,
        "size_bytes": model.size_bytes,
        "quantization": model.quantization,
        "parameters": model.parameters,
        "chat_template": model.chat_template,
        "reasoning": model.reasons,
    }
    return wire | {name: value for name, value in extensions.items() if value is not None}


def _capabilities(model: KnownModel) -> list[str]:
    # Grammars enforce the form of calls, so that every language model can make some.
    return {
        "chat": ["chat", "tools", *(["reasoning"] if model.reasons else [])],
        "embeddings": ["embeddings"],
        "rerank": ["rerank"],
    }[model.kind]


def _name(model: Any) -> str | None:
    return model.get("name") if isinstance(model, dict) else model
