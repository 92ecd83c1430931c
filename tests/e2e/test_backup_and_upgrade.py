"""The whole stack on a data folder of an earlier release, a backup of it while it runs, and the restored backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from core.catalog import Catalog
from tests.old_data_folder import (
    ANSWER,
    DOCUMENTS_JOB,
    EMBEDDINGS_JOB,
    QUESTION,
    REFUSED,
    UPLOADED,
    WAITING_JOB,
    WATCHED,
    unpack,
)
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(600)]

#: The jobs in the archive ended long ago, and are not to be removed for that.
KEEP_JOBS = {"JOB_RETENTION_SECONDS": str(100 * 365 * 86400)}


def documents(http: httpx.Client) -> dict[str, dict[str, Any]]:
    return {one["path"]: one for one in http.get("/v1/rag/documents", params={"limit": 100}).json()["data"]}


def found(http: httpx.Client, query: str) -> list[str]:
    hits = http.post("/v1/rag/search", json={"query": query, "top_k": 1}).json()["data"]
    return [hit["path"] for hit in hits]


def test_an_old_data_folder_serves_and_is_backed_up_and_restored(tmp_path: Path) -> None:
    old, new, backup = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    old.mkdir()
    new.mkdir()
    unpack(old)
    with Stack(old, KEEP_JOBS) as stack, httpx.Client(base_url=stack.base_url, timeout=60) as http:
        # Given the folder of the earlier release, everything is there, and is chunked as this release does it
        before = documents(http)
        assert before.keys() == WATCHED | UPLOADED | {REFUSED}
        assert "failed" not in {one["status"] for path, one in before.items() if path != REFUSED}
        assert found(http, QUESTION) == [ANSWER]
        assert http.get(f"/v1/jobs/{DOCUMENTS_JOB}").json()["status"] == "completed"
        assert len(http.get(f"/v1/jobs/{EMBEDDINGS_JOB}").json()["result"]["data"]) == 1
        # And the job that no worker had taken is done
        wait_until(lambda: http.get(f"/v1/jobs/{WAITING_JOB}").json()["status"] == "completed", 60)
        assert http.get(f"/v1/jobs/{WAITING_JOB}").json()["result"]["choices"][0]["message"]["content"]
        log = (stack.settings.state_dir / "logs" / "index.log").read_text(errors="replace")
        assert "documents are indexed again" in log
        wait_until(lambda: all(one["status"] in ("completed", "failed") for one in documents(http).values()), 60)
        # When it is backed up while it runs
        assert "not included, since llm-api is running" in stack.run("backup", str(backup)).stdout
        refused = stack.run("restore", str(backup), check=False)
        assert refused.returncode == 1 and "llm-api is running" in refused.stderr
    restored = Stack(new, {**KEEP_JOBS, "WATCH_DIRS": str(old / "inbox")})
    assert "indexed again" in restored.run("restore", str(backup)).stdout
    with restored as stack, httpx.Client(base_url=stack.base_url, timeout=60) as http:
        # Then the restored folder has the same documents, whose vectors are made again
        wait_until(lambda: all(one["status"] in ("completed", "failed") for one in documents(http).values()), 120)
        assert {path: one["id"] for path, one in documents(http).items()} == {
            path: one["id"] for path, one in before.items()
        }
        wait_until(lambda: found(http, QUESTION) == [ANSWER], 60)
        assert found(http, "lighthouse red and white") == ["reports/lighthouse.md"]
        assert http.get(f"/v1/jobs/{WAITING_JOB}").json()["status"] == "completed"
    catalog = Catalog.open(stack.settings.catalog_url)
    assert catalog.counts_by_state() == {"completed": len(WATCHED | UPLOADED), "failed": 1}
    assert [one.path for one in catalog.ignored_files(str(old / "inbox"))] == ["unwanted.txt"]
    catalog.close()
