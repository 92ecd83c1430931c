"""`/metrics` of an API process that knows of no other."""

from __future__ import annotations

import httpx


async def test_metrics_count_requests_by_the_template_of_their_route(http: httpx.AsyncClient) -> None:
    route = "/v1/jobs/{job_id}"
    wanted = [("GET", route), ("HEAD", route), ("other", "unknown")]
    text = (await http.get("/metrics")).text
    before = [_counted(text, *one) for one in wanted]
    await http.get("/v1/jobs/one")
    await http.get("/v1/jobs/another")
    await http.head("/v1/jobs/one")
    await http.request("INVENTED", "/nowhere")
    text = (await http.get("/metrics")).text

    counted = [_counted(text, *one) for one in wanted]
    assert [now - earlier for now, earlier in zip(counted, before, strict=True)] == [2, 1, 1]


def _counted(text: str, method: str, route: str) -> float:
    """Return how many requests that found nothing were counted."""
    name = f'llm_api_http_requests_total{{method="{method}",route="{route}",status="404"}} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))
