"""Two owners on a running stack: what workers find for a limited key, and usage that an orderly stop does not lose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from core.catalog import Catalog
from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check]

TEXTS = {"alice": "The safe of alice opens with the number 4711.", "bob": "The safe of bob opens with the number 8235."}
QUESTION = "With which number does the safe open?"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("owners")) as stack:
        yield stack


def client_of(stack: Stack, owner: str) -> httpx.Client:
    """Create a key that is limited to a collection of the owner's, and return a client that sends it."""
    secret = stack.run("keys", "create", owner, "--collection", f"{owner}s").stdout.splitlines()[-1]
    return httpx.Client(base_url=stack.base_url, timeout=120, headers={"authorization": f"Bearer {secret}"})


def ask(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(path, json=body).raise_for_status().json()
    return answer


def test_workers_find_for_a_key_only_what_it_may_read_and_count_what_it_uses(shared: Stack) -> None:
    with ExitStack() as opened:
        clients = {owner: opened.enter_context(client_of(shared, owner)) for owner in TEXTS}
        use_both(shared, clients)
    shared.stop()
    catalog = Catalog.open(shared.settings.catalog_url)
    used = {row.owner: row for row in catalog.list_usage().items}
    catalog.close()
    assert (used["alice"].requests, used["bob"].requests) == (5, 4)
    assert all(row.prompt_tokens > 50 and row.completion_tokens > 1 for row in used.values())


def use_both(shared: Stack, clients: dict[str, httpx.Client]) -> None:
    assert httpx.get(f"{shared.base_url}/v1/models", timeout=60).status_code == 401, (
        "since there are keys, one is needed"
    )
    for owner, client in clients.items():
        ask(client, "/v1/rag/documents", texts=[TEXTS[owner]], collection=f"{owner}s")
    message = [{"role": "user", "content": QUESTION}]
    forced = {"type": "function", "function": {"name": "search_documents"}}
    for owner, client in clients.items():
        hits = ask(client, "/v1/rag/search", query=QUESTION, top_k=10, score_threshold=-1)["data"]
        assert [hit["text"] for hit in hits] == [TEXTS[owner]]
        sources = ask(client, "/v1/rag/chat", query=QUESTION, max_tokens=20)["sources"]
        assert {source["collection"] for source in sources} <= {f"{owner}s"}
        called = client.post(
            "/v1/chat/completions",
            json={"messages": message, "server_tools": ["search_documents"], "tool_choice": forced, "max_tokens": 120},
        )
        assert called.status_code == 200 and "tool_results" in called.json()["choices"][0]["message"]
        (other,) = set(TEXTS) - {owner}
        assert TEXTS[other] not in called.text and f"{other}s" not in called.text
    later = clients["alice"].post("/v1/embeddings", json={"input": "a"}, headers={"prefer": "respond-async"})
    job = later.json()["id"]
    assert clients["alice"].get(f"/v1/jobs/{job}").status_code == 200
    assert clients["bob"].get(f"/v1/jobs/{job}").status_code == 404
