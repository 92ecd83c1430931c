"""What is counted of a document when search finds it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from core import metrics
from core.catalog import Catalog, Claim, Indexed, NewDocument, Source
from tasks.documents.document_metrics import MAX_NOTICED_SECONDS, observe_indexed
from tests.support import migrated_catalog


def counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"llm_api_{name}", labels) or 0.0


def claim_of(catalog: Catalog, collection: str, **changes: float | int | None) -> Claim:
    """Return the claim of a file of a watched folder, with these times."""
    new = NewDocument(collection, "tea.txt", Source.WATCH, "hash", 3, root="/inbox", path=f"{collection}.txt")
    return Claim(replace(catalog.add_document(new), **changes), 1)  # type: ignore[arg-type]


def test_the_stages_and_the_lag_of_a_watched_file_are_counted_once_each(tmp_path: Path) -> None:
    catalog = migrated_catalog(tmp_path / "catalog.sqlite3")
    now = time.time()
    times = {"queued_at": now - 9, "parsing_at": now - 7, "parsed_at": now - 4, "indexing_at": now - 3}
    before = {
        stage: counted("document_stage_seconds_sum", stage=stage) for stage in ("queue", "parse", "wait", "index")
    }

    observe_indexed(Indexed(claim_of(catalog, "noticed", **times, ctime_ns=int((now - 10) * 1e9)), 2, 1))
    long_ago = int((now - 10 - MAX_NOTICED_SECONDS) * 1e9)
    assert counted("watcher_lag_seconds_count", collection="noticed") == 1
    assert 10 <= counted("watcher_lag_seconds_sum", collection="noticed") < 60
    observe_indexed(Indexed(claim_of(catalog, "found", **times, ctime_ns=long_ago), 2, 1))
    catalog.close()

    spent = {stage: round(counted("document_stage_seconds_sum", stage=stage) - old) for stage, old in before.items()}
    assert spent["queue"] == 4 and spent["parse"] == 6 and spent["wait"] == 2 and spent["index"] >= 6
    assert counted("documents_indexed_total", collection="found") == 1
    assert counted("watcher_lag_seconds_count", collection="found") == 0, "it was there before anybody watched"
