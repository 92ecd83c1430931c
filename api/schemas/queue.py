"""`/v1/queue` and `/v1/throughput`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.base import WireAnswer


class QueueEntry(WireAnswer):
    """A request that waits or is worked on, whether its client waits for it or not."""

    id: str
    object: Literal["queue.entry"] = "queue.entry"
    kind: str
    model: str | None = Field(description="The language model; null: it needs none, or the default one will do it.")
    owner: str
    status: Literal["queued", "running"]
    position: int | None = Field(description="How many come before it in its queue; null: it does not wait.")
    age_seconds: float = Field(description="Since it began to wait.")
    running_seconds: float | None
    estimated_start_seconds: float | None = Field(description="null: it does not wait, or nothing is known yet.")
    tokens: int = Field(description="The tokens of its answer so far.")
    tokens_per_second: float | None
    durable: bool = Field(description="Whether it is a job of `/v1/jobs`, which its client need not wait for.")


class Worker(WireAnswer):
    """A live process. Only admins see its name and its host."""

    object: Literal["worker"] = "worker"
    role: str
    name: str | None
    host: str | None
    model: str | None
    doing: Literal["idle", "generating", "parsing", "indexing"] | None = Field(
        description="null: processes of this role do not say."
    )
    busy: int = Field(description="The answers that it generates, or the documents that it holds.")
    since: int | None = Field(description="When it became ready, in Unix seconds.")
    figures: dict[str, float] = Field(
        description="The counters of its engine, such as `slots` and `tokens_per_second`."
    )


class Flower(WireAnswer):
    """Where Flower listens."""

    host: str
    port: int


class QueueReport(WireAnswer):
    object: Literal["queue"] = "queue"
    data: list[QueueEntry]
    workers: list[Worker]
    flower: Flower | None = Field(description="Where Flower shows the tasks; null: the key is none of an admin.")


class Minute(WireAnswer):
    """What was done in a minute that begins `at` (Unix seconds)."""

    at: int
    documents_completed: int
    documents_failed: int
    chunks: int
    jobs: int
    searches: int
    completion_tokens: int


class Throughput(WireAnswer):
    """The last hour, the earliest minute first. The last one is not over yet."""

    object: Literal["throughput"] = "throughput"
    minutes: list[Minute]
