"""Snapshots of registries are merged: what grows is added up, and gauges are those of processes that live."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from core.metric_snapshots import Family, Snapshot, as_metrics, families_of, growing, labelled, merged


class Process:
    """A process with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("llm_api_requests", "Requests.", ["model"], registry=self.registry)
        self.seconds = Histogram("llm_api_wait_seconds", "Wait.", buckets=(1, 5), registry=self.registry)
        self.running = Gauge("llm_api_running", "Running.", registry=self.registry)
        self.usage = Gauge("llm_api_cache_usage_perc", "Share.", registry=self.registry)

    def families(self) -> list[Family]:
        """Return its snapshot, as it arrives elsewhere."""
        encoded = msgspec.json.encode(Snapshot(families_of(self.registry)))
        return msgspec.json.decode(encoded, type=Snapshot).families


def values(families: list[Family]) -> dict[str, float]:
    """Return the value of each sample, by its name with its labels."""
    return {
        name + ",".join(f"{label}={of}" for label, of in sorted(labels.items())): value
        for family in families
        for name, labels, value in family.samples
    }


def test_counts_are_added_up_by_their_labels_and_ratios_are_not() -> None:
    one, other = Process(), Process()
    one.requests.labels("a").inc(2)
    other.requests.labels("a").inc(3)
    other.requests.labels("b").inc()
    for process, usage in ((one, 0.5), (other, 0.75)):
        process.seconds.observe(3)
        process.running.set(2)
        process.usage.set(usage)

    found = values(merged([one.families(), other.families()]))

    assert found["llm_api_requests_totalmodel=a"] == 5 and found["llm_api_requests_totalmodel=b"] == 1
    assert found["llm_api_wait_seconds_bucketle=1.0"] == 0 and found["llm_api_wait_seconds_bucketle=5.0"] == 2
    assert found["llm_api_wait_seconds_count"] == 2 and found["llm_api_wait_seconds_sum"] == 6
    assert found["llm_api_running"] == 4 and found["llm_api_cache_usage_perc"] == 0.75


def test_what_grows_is_counters_and_histograms() -> None:
    process = Process()
    process.requests.labels("a").inc()
    assert {family.name for family in growing(process.families())} == {"llm_api_requests", "llm_api_wait_seconds"}


def test_merged_families_are_written_in_the_text_format_with_their_labels() -> None:
    process = Process()
    process.requests.labels("a").inc()

    class Merged:
        def collect(self) -> list[object]:
            return list(as_metrics(labelled(process.families(), {"role": "api", "instance": "api@here"})))

    text = generate_latest(Merged()).decode()  # type: ignore[arg-type]
    assert 'llm_api_requests_total{instance="api@here",model="a",role="api"} 1.0' in text
    assert "# TYPE llm_api_wait_seconds histogram" in text
    assert 'llm_api_wait_seconds_bucket{instance="api@here",le="+Inf",role="api"} 0.0' in text


def test_a_metric_that_cannot_be_merged_is_refused() -> None:
    registry = CollectorRegistry()
    Info("llm_api_build", "The build.", registry=registry)
    with pytest.raises(ValueError, match="llm_api_build is a info"):
        families_of(registry)
