"""`/v1/queue` and `/v1/throughput`: what waits and runs, who works on it, and what was done in the last hour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.callers import Caller
from api.dependencies import CallerDep, JsonRoute, ServicesDep, in_thread, json_response
from api.render import Wire
from api.schemas import queue as schema
from api.scopes import needs
from core.catalog import DocumentState
from tasks.jobs.queue_view import QueuedJob
from tasks.jobs.queues import Role

router = APIRouter(tags=["jobs"], route_class=JsonRoute)

_COUNTS = tuple(name for name in schema.Minute.model_fields if name != "at")
_HOLDS = {DocumentState.PARSING: "parsing", DocumentState.INDEXING: "indexing"}
Workers = Mapping[Role, Mapping[str, dict[str, Any]]]


@router.get("/v1/queue", responses={200: {"model": schema.QueueReport}})
@needs()
async def get_queue(services: ServicesDep, caller: CallerDep) -> Response:
    """Report the jobs that run and wait, streams and searches too, and the live processes.

    A key sees the jobs of its owner, but their positions count those of all. Of each queue, the first hundred jobs that
    wait are listed. `jobs` of `/v1/events` says when to ask again.
    """
    jobs, workers = await services.stream.queued_jobs()
    held = await in_thread(services.catalog.documents_held)
    names, settings = dict(_model_names(workers)), services.settings
    seen = [job for job in jobs if caller.reach.owns(job.owner)]
    return json_response(
        {
            "object": "queue",
            "data": [_entry(job, names) for job in sorted(seen, key=lambda job: job.turn is not None)],
            "workers": list(_workers(workers, held, caller)),
            "flower": {"host": settings.flower_host, "port": settings.flower_port} if caller.is_admin else None,
        }
    )


@router.get("/v1/throughput", responses={200: {"model": schema.Throughput}})
@needs()
async def get_throughput(services: ServicesDep) -> Response:
    """Report what was done in each minute of the last hour: documents, chunks, jobs, searches and tokens of answers."""
    last, counts = await services.stream.throughput()
    minutes = [
        {"at": 60 * (last - len(counts) + 1 + at), **{name: one.get(name, 0) for name in _COUNTS}}
        for at, one in enumerate(counts)
    ]
    return json_response({"object": "throughput", "minutes": minutes})


def _entry(job: QueuedJob, names: Mapping[str, str]) -> Wire:
    return {
        "id": job.job_id,
        "object": "queue.entry",
        "kind": job.kind,
        "model": names.get(job.model, job.model) or None,
        "owner": job.owner,
        "status": "running" if job.turn is None else "queued",
        "position": job.turn.position if job.turn else None,
        "age_seconds": round(job.age_seconds, 1),
        "running_seconds": None if job.running_seconds is None else round(job.running_seconds, 1),
        "estimated_start_seconds": job.turn.estimated_start_seconds if job.turn else None,
        "tokens": job.tokens,
        "tokens_per_second": job.tokens_per_second,
        "durable": job.durable,
    }


def _model_names(workers: Workers) -> Iterator[tuple[str, str]]:
    """Yield the slug and the name of each language model."""
    for info in workers.get(Role.SUPERVISOR, {}).values():
        yield from ((model["slug"], model["name"]) for model in info.get("models", ()))
    for info in workers.get(Role.INFERENCE, {}).values():
        if info.get("slug"):
            yield info["slug"], str(_model(info))


def _model(info: Mapping[str, Any]) -> str | None:
    model = info.get("model")
    return model.get("name") if isinstance(model, dict) else model


def _workers(workers: Workers, held: Mapping[str, tuple[DocumentState, int]], caller: Caller) -> Iterator[Wire]:
    for role, announced in workers.items():
        for name, info in announced.items():
            model, engine = _model(info), info.get("engine", {})
            if role is Role.INFERENCE and model is not None and not caller.may_use_model(model):
                continue
            doing, busy = _doing(role, name, engine, held)
            yield {
                "object": "worker",
                "role": role.value,
                "name": name if caller.is_admin else None,
                "host": name.rpartition("@")[2].partition(":")[0] if caller.is_admin else None,
                "model": model,
                "doing": doing,
                "busy": busy,
                "since": int(info["started_at"]) if info.get("started_at") else None,
                "figures": {key: value for key, value in engine.items() if isinstance(value, int | float)},
            }


def _doing(
    role: Role, name: str, engine: Mapping[str, Any], held: Mapping[str, tuple[DocumentState, int]]
) -> tuple[str | None, int]:
    if role is Role.INFERENCE:
        running = int(engine.get("running", 0))
        return ("generating" if running else "idle"), running
    if role in (Role.INGEST, Role.INDEX):
        # The children of an ingest worker claim documents under its name with their pids.
        mine = [one for worker, one in held.items() if worker == name or worker.startswith(f"{name}:")]
        return (_HOLDS[mine[0][0]] if mine else "idle"), sum(count for _, count in mine)
    return None, 0
