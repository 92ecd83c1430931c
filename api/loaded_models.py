"""Which models the live workers have loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from api.dependencies import Services
from core.errors import NotFound
from tasks.names import Role

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
            if name := _name(info.get("model")):
                found.setdefault(name, LoadedModel(name, role, int(info.get("started_at") or STARTED_AT)))
    return list(found.values())


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
