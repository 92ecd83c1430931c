"""A job kind that is registered in one place: its entry, its task function, its renderer, and a route that submits it.

`celery -A tests.integration.tasks.echo_kind worker -Q maintenance` starts a worker that serves it.
"""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, PreferencesDep, ServicesDep
from api.job_calls import Call, respond
from api.render import Wire
from api.renderers import FinishedJob
from api.scopes import needs
from core import events
from core.keys import Scope
from tasks.app import celery_app
from tasks.jobs.kinds import JobKind, register
from tasks.jobs.queues import Queue, Task
from tasks.jobs.runner import ChoiceResult, JobResult, RunningJob
from tasks.services import services

ECHO_PATH = "/v1/echo"


class EchoRequest(msgspec.Struct):
    """The words to repeat."""

    words: list[str]


ECHO = register(
    JobKind(
        name="echo",
        request=EchoRequest,
        task=Task("maintenance.echo", Queue.MAINTENANCE),
        endpoints={ECHO_PATH: f"{__name__}:echo_answer"},
        events=frozenset({events.TextDelta}),
    )
)


@celery_app.task(name=ECHO.task.name)
def echo(job_id: str) -> None:
    """Repeat the words of a job."""
    services().runner.run(job_id, ECHO.task, _repeat)


def _repeat(job: RunningJob) -> None:
    words = job.request(EchoRequest).words
    job.emit(events.Accepted(**job.event_fields(), model="echo"), state="running")
    for word in words:
        job.emit(events.TextDelta(**job.event_fields(), text=word))
    services().runner.complete(job, JobResult("echo", [ChoiceResult(text="".join(words), finish_reason="stop")]))


async def echo_answer(job: FinishedJob) -> Wire:
    """Render the words, in upper case if the option `loud` says so."""
    text = job.answer.choices[0].text
    return {"object": "echo", "id": job.head.id("echo"), "text": text.upper() if "loud" in job.options else text}


router = APIRouter(route_class=JsonRoute)


@router.post(ECHO_PATH)
@needs(Scope.CHAT)
async def create_echo(request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep) -> Response:
    """Submit a job of the kind."""
    body = msgspec.json.decode(await request.body(), type=EchoRequest)
    options = {"loud": "yes"} if request.query_params.get("loud") else {}
    return await respond(request, services, Call(ECHO, body, ECHO_PATH, caller, options), prefer)


celery = celery_app
