"""The record of a job in Redis, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.keys import DEFAULT_OWNER
from tasks.jobs.kinds import JobKind, kind_named
from tasks.jobs.queues import Queue, Task

#: The fields of a `JobRecord`. The request is read by a claim only, as it may be large.
RECORD_FIELDS = (
    "kind",
    "task",
    "attempt",
    "state",
    "durable",
    "key",
    "submitted",
    "deadline",
    "cancel",
    "done",
    "claim",
    "released",
    "owner",
    "model",
    "digest",
)


@dataclass(frozen=True)
class ServedModel:
    """The language model that a worker serves: the slug of its name, and the SHA-256 of its file."""

    slug: str = ""
    digest: str = ""


#: Of a worker that serves none.
NO_MODEL = ServedModel()


@dataclass(frozen=True)
class JobRecord:
    """The record of a job in Redis, without its request. `submitted` and `deadline` are Unix seconds."""

    job_id: str
    kind: JobKind
    task: Task
    attempt: int
    state: str
    durable: bool
    key: str
    submitted: float
    deadline: float | None
    cancelled: bool
    done: bool
    #: The id of the claim of the worker that has the job; "" while the job waits.
    claim: str = ""
    #: How many of the earlier attempts ended because their worker stopped and released the job.
    released: int = 0
    #: Who made the job.
    owner: str = DEFAULT_OWNER
    #: The slug of the language model that the job is for; "" while any may do it, and for jobs that need none.
    model: str = ""
    #: The SHA-256 of the model file that an earlier attempt began with; "" if there was none.
    digest: str = ""

    @property
    def lost_attempts(self) -> int:
        """The number of earlier attempts whose worker was lost."""
        return self.attempt - 1 - self.released

    @property
    def queue(self) -> Queue:
        return self.task.queue_for(durable=self.durable)

    @property
    def queue_name(self) -> str:
        """The name of the queue in which the job waits for its task."""
        return self.queue.of_model(self.model)


def record_of(job_id: str, values: Sequence[bytes | None]) -> JobRecord | None:
    """Return the record with these values of `RECORD_FIELDS`, or None if the job has no record."""
    raw = {name: value for name, value in zip(RECORD_FIELDS, values, strict=True) if value is not None}
    if "kind" not in raw:
        return None
    deadline = raw["deadline"]
    kind = kind_named(raw["kind"].decode())
    return JobRecord(
        job_id=job_id,
        kind=kind,
        task=kind.task_named(raw["task"].decode()),
        attempt=int(raw["attempt"]),
        state=raw["state"].decode(),
        durable=raw["durable"] == b"1",
        key=raw["key"].decode(),
        submitted=float(raw["submitted"]),
        deadline=float(deadline) if deadline else None,
        cancelled="cancel" in raw,
        done="done" in raw,
        claim=raw.get("claim", b"").decode(),
        released=int(raw.get("released", 0)),
        owner=raw.get("owner", DEFAULT_OWNER.encode()).decode(),
        model=raw.get("model", b"").decode(),
        digest=raw.get("digest", b"").decode(),
    )
