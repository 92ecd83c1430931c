"""The record of a job in Redis, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    "created",
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
    """The record of a job in Redis, without its request. Times are Unix seconds: of a claimed job, by the clock of this
    host, and else by Redis's."""

    job_id: str
    kind: JobKind
    task: Task
    attempt: int
    state: str
    durable: bool
    key: str
    #: When it was queued last: for its first task, for the next one, or again.
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
    #: When the job was made. 0: by a release that did not record it.
    created: float = 0.0

    def by_clock(self, ahead_seconds: float) -> JobRecord:
        """Return the record with the times of a clock that is ahead of Redis's by this much."""
        deadline = self.deadline and self.deadline + ahead_seconds
        created = self.created and self.created + ahead_seconds
        return replace(self, submitted=self.submitted + ahead_seconds, deadline=deadline, created=created)

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
        created=float(raw.get("created", 0.0)),
    )
