"""Decides which language models are started and stopped, within the memory that they may take together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ModelUse:
    """A model on this host, and how it is used."""

    slug: str
    #: The memory that it needs at least, in bytes; of a running one, what it takes if that is more.
    needed_bytes: int
    #: `stopping`: its worker ends what it is answering, and keeps its memory until then.
    state: Literal["stopped", "starting", "running", "stopping"]
    is_default: bool = False
    #: Somebody has asked for it since it was stopped, or jobs wait for it.
    is_wanted: bool = False
    #: Somebody has asked to unload it since it was started.
    is_unwanted: bool = False
    #: It answers, or jobs wait for it.
    is_busy: bool = False
    #: Since it last answered.
    idle_seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What to do now. `refuse` has the reason for each model that cannot be loaded."""

    start: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)


def plan(models: Sequence[ModelUse], memory_bytes: int, keep_alive_seconds: float) -> Plan:
    """Return which models to start, to stop and to refuse.

    A model that is wanted is started if it fits beside the others. If not, those that have answered nothing for the
    longest time are stopped first, and it is started once they have ended. One that answers is not stopped for another.

    Args:
        models: all models of this host. Those that are wanted come first that were wanted first.
        memory_bytes: what they may take together.
        keep_alive_seconds: after this time without an answer a model is stopped, but not the default one; below 0: no
            model is.
    """
    made = Plan()
    made.stop.extend(model.slug for model in models if model.state == "running" and model.is_unwanted)
    for model in models:
        is_old = 0 <= keep_alive_seconds < model.idle_seconds
        if model.state == "running" and is_old and not (model.is_default or model.is_busy or model.slug in made.stop):
            made.stop.append(model.slug)
    free = memory_bytes - sum(model.needed_bytes for model in models if model.state != "stopped")
    for model in models:
        if model.state != "stopped" or not model.is_wanted:
            continue
        if model.needed_bytes > memory_bytes:
            made.refuse[model.slug] = does_not_fit(model.needed_bytes, memory_bytes)
        elif model.needed_bytes <= free:
            made.start.append(model.slug)
            free -= model.needed_bytes
        else:
            made.stop.extend(_least_recently_used(models, model.needed_bytes - free, made.stop))
            # What ends for this model is not for those that were wanted later.
            free = 0
    return made


def does_not_fit(needed_bytes: int, memory_bytes: int) -> str:
    """Return why a model cannot be loaded even if all others are unloaded."""
    return (
        f"The model needs {needed_bytes:,} bytes of memory, and with all others unloaded {memory_bytes:,} are free for "
        "it (MODEL_MEMORY_BYTES): choose a smaller model, or a smaller quantisation of it."
    )


def _least_recently_used(models: Sequence[ModelUse], missing_bytes: int, stopped: Sequence[str]) -> list[str]:
    """Return the idle models to stop for so many more bytes, or none if that is not enough.

    Those that are being stopped already count.
    """
    missing_bytes -= sum(model.needed_bytes for model in models if model.state == "stopping" or model.slug in stopped)
    idle = [model for model in models if model.state == "running" and not model.is_busy and model.slug not in stopped]
    chosen: list[str] = []
    for model in sorted(idle, key=lambda model: -model.idle_seconds):
        if missing_bytes <= 0:
            break
        chosen.append(model.slug)
        missing_bytes -= model.needed_bytes
    return chosen if missing_bytes <= 0 else []
