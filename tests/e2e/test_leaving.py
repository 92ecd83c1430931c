"""Clients that disconnect: their requests end at once, so other clients do not wait for them."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest
import redis

from core import events
from tasks.jobs.keys import CANCEL_CHANNEL, events_key
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check]

CHAT = "/v1/chat/completions"
#: The engine may be in a step when the cancellation arrives, and it reads its clock after that step's sampling.
MOST_TOKENS_AFTER = 2
IMPATIENT_CLIENTS = 200
STORY_TOKENS = 900


def story(seed: int) -> dict[str, object]:
    content = f"Tell story number {seed}, a long one."
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": STORY_TOKENS,
        "ignore_eos": True,
        "stream": True,
    }


def test_a_client_that_disconnects_frees_its_slot_within_a_step(stack: Stack, http: httpx.Client) -> None:
    server = redis.Redis.from_url(stack.settings.redis_client_url)
    cancellations = server.pubsub(ignore_subscribe_messages=True)
    cancellations.subscribe(CANCEL_CHANNEL)
    cancellations.get_message(timeout=5)
    # Given a running stream
    with http.stream("POST", CHAT, json=story(0)) as response:
        lines = (line for line in response.iter_lines() if line.startswith("data: {"))
        job_id = [json.loads(next(lines)[6:])["id"] for _ in range(10)][0].replace("chatcmpl-", "job-")
        # When its client disconnects
    wait_until(lambda: cancellations.get_message(timeout=0.01), 10, "the cancellation")
    cancelled_at = time.time()
    cancellations.close()

    # Then it ends at once, and nothing is computed for it after the running step
    def story_so_far() -> list[events.AnyEvent]:
        return [events.decode(events.split_frame(frame)[1]) for frame in server.lrange(events_key(job_id), 0, -1)]

    wait_until(lambda: isinstance(story_so_far()[-1], events.Cancelled), 10, "the end of the job")
    deltas = [event for event in story_so_far() if isinstance(event, events.TextDelta)]
    assert sum(len(event.token_ids) for event in deltas if event.created > cancelled_at) <= MOST_TOKENS_AFTER
    assert sum(len(event.token_ids) for event in deltas) < STORY_TOKENS / 2
    server.close()


def engine_figure(http: httpx.Client, name: str) -> float:
    """Return a metric of the engine as its worker last published it."""
    (line,) = (line for line in http.get("/metrics").text.splitlines() if line.startswith(f"llm_api_{name}{{"))
    return float(line.rpartition(" ")[2])


async def _give_up(client: httpx.AsyncClient, number: int) -> str:
    try:
        async with asyncio.timeout(0.5):
            return str((await client.post(CHAT, json=story(number) | {"stream": False})).status_code)
    except TimeoutError:
        return "gave up"


async def test_a_request_is_answered_after_200_clients_gave_up(stack: Stack, http: httpx.Client) -> None:
    before = engine_figure(http, "generation_tokens_total")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=60, limits=limits) as client:
        endings = await asyncio.gather(*(_give_up(client, number) for number in range(IMPATIENT_CLIENTS)))
        assert endings.count("gave up") > IMPATIENT_CLIENTS / 2, endings
        request = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
        answer = await client.post(CHAT, json=request)
    assert answer.status_code == 200, answer.text
    # Then most of the stories were never told
    wait_until(lambda: engine_figure(http, "num_requests_running") == 0)
    wait_until(lambda: engine_figure(http, "generation_tokens_total") > before)
    assert engine_figure(http, "generation_tokens_total") - before < IMPATIENT_CLIENTS * STORY_TOKENS / 10
