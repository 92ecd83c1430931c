"""Snapshots of a registry as values, and what can be done with those of several processes. Pure.

A process writes down everything that it has counted since its start. Counters and histograms only grow, so those of
several processes are added up, also of processes that have ended. Gauges say what is now: they are taken of processes
that live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

Kind = Literal["counter", "gauge", "histogram"]
_KINDS: Mapping[str, Kind] = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}
#: The ends of the names of gauges that are not added up: of several processes, the highest counts.
HIGHEST = ("_perc", "_seconds")


class Family(msgspec.Struct, array_like=True, frozen=True):
    """A metric with its samples: the name of each, the values of its labels by name, and its value."""

    name: str
    kind: Kind
    about: str
    samples: list[tuple[str, dict[str, str], float]]

    @property
    def only_grows(self) -> bool:
        """Whether its values never fall while the process lives."""
        return self.kind != "gauge"


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """What a process knew at one time. The gauges of a process that is ending no longer count."""

    families: list[Family]
    is_ending: bool = False


def families_of(registry: CollectorRegistry) -> list[Family]:
    """Return what a registry holds.

    Raises:
        ValueError: it has a metric that is neither a counter, nor a gauge, nor a histogram.
    """
    return [_family_of(metric) for metric in registry.collect()]


def _family_of(metric: Metric) -> Family:
    kind = _KINDS.get(metric.type)
    if kind is None:
        raise ValueError(f"{metric.name} is a {metric.type}: only counters, gauges and histograms can be merged.")
    samples = [(sample.name, dict(sample.labels), sample.value) for sample in metric.samples]
    return Family(metric.name, kind, metric.documentation, samples)


def growing(families: Iterable[Family]) -> list[Family]:
    """Return the counters and histograms alone."""
    return [family for family in families if family.only_grows and family.samples]


def labelled(families: Iterable[Family], labels: Mapping[str, str]) -> list[Family]:
    """Return the families with these labels at every sample. A sample's own label of the same name stays."""
    return [
        Family(
            family.name,
            family.kind,
            family.about,
            [(name, {**labels, **own}, value) for name, own, value in family.samples],
        )
        for family in families
    ]


def merged(snapshots: Iterable[Sequence[Family]]) -> list[Family]:
    """Return one family for each name, in which the values of samples with the same labels are added up.

    Of gauges whose names end with HIGHEST, it is the highest value.
    """
    kinds: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in snapshots:
        for family in families:
            kinds.setdefault(family.name, family)
            found = values.setdefault(family.name, {})
            takes_highest = not family.only_grows and family.name.endswith(HIGHEST)
            for name, labels, value in family.samples:
                key = (name, tuple(labels.items()))
                if key not in found:
                    found[key] = value
                else:
                    found[key] = max(found[key], value) if takes_highest else found[key] + value
    return [
        Family(name, first.kind, first.about, [(key[0], dict(key[1]), value) for key, value in values[name].items()])
        for name, first in kinds.items()
    ]


def as_metrics(families: Iterable[Family]) -> Iterator[Metric]:
    """Yield the families as `prometheus_client` writes them out."""
    for family in families:
        metric = Metric(family.name, family.about, family.kind)
        for name, labels, value in family.samples:
            metric.add_sample(name, labels, value)
        yield metric
