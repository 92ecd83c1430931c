"""The board, the rules and the document of the metrics agree. What a running stack says of them: tests/e2e."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from core.metrics import REGISTRY
from tests.monitoring import PROMETHEUS, board_queries, documented, names_in, rule_queries


@pytest.mark.parametrize("query", [*board_queries(), *rule_queries().values()])
def test_board_and_rules_ask_for_documented_metrics(query: str) -> None:
    assert names_in(query) <= documented().keys()


def test_the_document_has_the_metrics_that_every_process_keeps() -> None:
    kept = {f"{one.name}_total" if one.type == "counter" else one.name: one.type for one in REGISTRY.collect()}
    assert kept.items() <= documented().items()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="apt-get install prometheus")
@pytest.mark.parametrize("arguments", [("config", "prometheus.yml"), ("rules", "rules.yml")])
def test_prometheus_accepts_its_configuration(arguments: tuple[str, str]) -> None:
    done = subprocess.run(
        ["promtool", "check", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
