"""The version of a process in its presence. Processes of releases that cannot work together refuse to start."""

from __future__ import annotations

import time
from typing import Any, Protocol

from core.catalog.migration import HEAD_REVISION
from core.errors import ConfigurationError, Unavailable
from core.release import release
from tasks.jobs.queues import Role

#: The version of what processes exchange: messages, job records and events. Raise it when a process of the previous
#: release would misread what this one writes, or the other way round.
PROTOCOL_VERSION = 3
#: A process that was killed still looks alive for as long as its last announcement counts.
WAIT_SECONDS = 8.0
POLL_SECONDS = 0.25


class Presence(Protocol):
    """The part of `tasks.jobs.producer.Producer` that is needed here."""

    def workers(self, role: Role) -> dict[str, dict[str, Any]]: ...


def version_info() -> dict[str, Any]:
    """Return what each process announces of its version: the release, and the versions of what it shares."""
    return {"release": release(), "protocol": PROTOCOL_VERSION, "catalog": HEAD_REVISION}


def incompatible_processes(presence: Presence) -> dict[str, str]:
    """Return the releases, by name, of live processes that this one cannot work with. Raises `Unavailable`."""
    mine = _shared(version_info())
    live = {name: info for role in Role for name, info in presence.workers(role).items()}
    return {name: info.get("release", "unknown") for name, info in live.items() if _shared(info) != mine}


def require_compatible(presence: Presence) -> None:
    """Check that all live processes can work with this one. Wait until killed ones no longer look alive.

    If Redis does not answer, nothing is checked: no process can work then.

    Raises:
        ConfigurationError: a process of another version is alive; the message says what to do.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while found := incompatible_processes(presence):
            if time.monotonic() > deadline:
                raise ConfigurationError(refusal(found))
            time.sleep(POLL_SECONDS)
    except Unavailable:
        return


def refusal(found: dict[str, str]) -> str:
    """Return why a process cannot start beside these, and what to do."""
    names = ", ".join(f"{name} (release {number})" for name, number in sorted(found.items())[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return (
        f"This is llm-api {release()}, and processes of an incompatible release are running: {names}{more}. "
        "Stop them first (`llm-api down`, or `docker compose down`), then start this release."
    )


def _shared(info: dict[str, Any]) -> tuple[Any, Any]:
    # Releases before these versions announced none.
    return info.get("protocol"), info.get("catalog")
