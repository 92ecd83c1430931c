"""What the metrics say of the engine of an inference worker, read from its counters when a snapshot is taken."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from core.metrics import REGISTRY
from inference.engine.engine import Engine
from inference.engine.stats import TOKEN_GAP_SECONDS, EngineStats
from inference.functions import function_registry


class EngineMetrics(Collector):
    """Collects the state and the counters of one engine. `close` takes them out of the registry."""

    def __init__(self, engine: Engine, model: str) -> None:
        self._engine, self._model = engine, model
        REGISTRY.register(self)

    def close(self) -> None:
        """Leave the registry, before the engine is gone."""
        REGISTRY.unregister(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, each with the slug of the model."""
        stats = self._engine.stats()
        yield from self._gauges(stats)
        yield from self._counters(stats)
        gaps = HistogramMetricFamily(
            "llm_api_inter_token_latency_seconds", "Time between two tokens of an answer.", labels=["model"]
        )
        bounds = [*map(str, TOKEN_GAP_SECONDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(stats.token_gaps), strict=True))
        gaps.add_metric([self._model], buckets, stats.token_gap_seconds)
        yield gaps

    def _gauges(self, stats: EngineStats) -> Iterator[Metric]:
        yield self._gauge("num_requests_running", "Sequences that have a slot of the model.", stats.running)
        yield self._gauge("num_requests_waiting", "Sequences in the worker that wait for a slot.", stats.waiting)
        yield self._gauge("engine_slots", "Sequences that may have a slot at once.", stats.slots)
        used = stats.kv_used / stats.kv_total if stats.kv_total else 0.0
        yield self._gauge("kv_cache_usage_perc", "Share of the KV cache that is in use, from 0 to 1.", used)
        yield self._gauge("kv_cache_tokens", "Tokens that the KV cache can hold.", stats.kv_total)
        yield self._gauge("prefix_cache_tokens", "Tokens of finished prompts that are kept for later.", stats.parked)
        silent = self._engine.silent_seconds
        yield self._gauge("engine_silent_seconds", "Time since the engine's last turn; it hangs above 60.", silent)
        hung = function_registry.hung_calls
        yield self._gauge("hung_function_calls", "Calls of functions that were given up and have not returned.", hung)

    def _counters(self, stats: EngineStats) -> Iterator[Metric]:
        prompts = stats.prompt_tokens + stats.prefix_hits
        yield self._counter("prompt_tokens", "Tokens of prompts, computed or found in the cache.", prompts)
        yield self._counter("generation_tokens", "Tokens generated.", stats.generated_tokens)
        yield self._counter("prefix_cache_queries", "Tokens of prompts looked up in the cache.", stats.prefix_queries)
        yield self._counter("prefix_cache_hits", "Tokens of prompts that the cache held.", stats.prefix_hits)
        yield self._counter("num_preemptions", "Sequences that lost their slot to others.", stats.preemptions)
        yield self._counter("engine_steps", "Steps of the engine.", stats.steps)
        yield self._counter("engine_crashes", "Faults after which the engine began anew.", stats.crashes)

    def _gauge(self, name: str, about: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"llm_api_{name}", about, labels=["model"])
        family.add_metric([self._model], value)
        return family

    def _counter(self, name: str, about: str, value: float) -> Metric:
        family = CounterMetricFamily(f"llm_api_{name}", about, labels=["model"])
        family.add_metric([self._model], value)
        return family
