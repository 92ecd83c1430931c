"""`/v1/models/pull`: models from the Hugging Face hub. The maintenance worker downloads them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, PreferencesDep, ServicesDep, in_thread
from api.job_calls import Call, respond
from api.schemas.pull import PullBody, PulledModel
from api.schemas.rag import Job
from api.scopes import needs
from core.keys import Scope
from core.messages import PullRequest
from core.models.hub import Reference
from core.models.recommended import RECOMMENDED, recommended
from tasks.jobs.kinds import PULL

PULL_PATH = "/v1/models/pull"

router = APIRouter(tags=["models"], route_class=JsonRoute)


@router.post(PULL_PATH, responses={200: {"model": PulledModel}, 202: {"model": Job}})
@needs(Scope.ADMIN)
async def pull_model(
    body: PullBody, request: Request, services: ServicesDep, caller: CallerDep, prefer: PreferencesDep
) -> Response:
    """Download a model, which can be used at once when it is complete. `Prefer: respond-async` suits large ones.

    The events of the job then say how far it is.
    """
    reference = await in_thread(recommended) if body.model == RECOMMENDED else Reference.parse(body.model)
    return await respond(request, services, Call(PULL, PullRequest(str(reference)), PULL_PATH, caller), prefer)
