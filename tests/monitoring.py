"""The board and the rules for Prometheus that are in `deploy/`, and what they ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
BOARD = ROOT / "deploy" / "grafana" / "llm-api.json"
#: The ends of the names of a histogram's samples.
_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
_ROW = re.compile(r"^\| `(llm_api_\w+)` \| (\w+) \|", re.MULTILINE)


def board_queries() -> list[str]:
    """Return the queries of all panels."""
    panels = json.loads(BOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def rule_queries() -> dict[str, str]:
    """Return the query of each alert, by its name."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def names_in(query: str) -> set[str]:
    """Return the metrics that a query asks for."""
    return {_OF_HISTOGRAM.sub("", name) for name in re.findall(r"llm_api_\w+", query)}


def documented() -> dict[str, str]:
    """Return the kind of each metric that docs/metrics.md lists, by its name."""
    return dict(_ROW.findall((ROOT / "docs" / "metrics.md").read_text()))
