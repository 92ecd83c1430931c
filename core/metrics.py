"""The metrics that a process keeps: counters and histograms, by what they are about.

Every process has one registry. Its snapshot travels through Redis to the API (`tasks.jobs.metric_store`), which merges
those of all processes. Names have the suffixes that vLLM's metrics have, so that its boards need only be renamed.
`docs/metrics.md` lists them all.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from core.process_memory import ProcessMemory

#: The time at which a counter was created would be as many samples again, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()

_REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
#: Fewer, as there is a histogram for each route.
_HTTP_SECONDS = (0.025, 0.1, 0.5, 2.5, 10, 60)
_WAIT_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_STEP_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_DOCUMENT_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
_TOKENS = (1, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


def _counter(name: str, about: str, *labels: str) -> Counter:
    return Counter(f"llm_api_{name}", about, labels, registry=REGISTRY)


def _histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"llm_api_{name}", about, labels, buckets=buckets, registry=REGISTRY)


# HTTP, in the API. The route is a template such as `/v1/jobs/{job_id}`, or `unknown`.

HTTP_REQUESTS = _counter("http_requests", "HTTP requests answered.", "method", "route", "status")
HTTP_SECONDS = _histogram("http_request_seconds", "Time to the end of the answer.", _HTTP_SECONDS, "method", "route")

# Chats and completions, in the inference worker.

TIME_TO_FIRST_TOKEN = _histogram(
    "time_to_first_token_seconds", "Time from a request to its first text.", _REQUEST_SECONDS, "model"
)
E2E_LATENCY = _histogram(
    "e2e_request_latency_seconds", "Time from a request to the end of its answer.", _REQUEST_SECONDS, "model"
)
QUEUE_TIME = _histogram(
    "request_queue_time_seconds", "Time that a request waited for a slot of the model.", _WAIT_SECONDS, "model"
)
PREFILL_TIME = _histogram(
    "request_prefill_time_seconds", "Time from a slot to the first token.", _REQUEST_SECONDS, "model"
)
DECODE_TIME = _histogram(
    "request_decode_time_seconds", "Time from the first token to the last one.", _REQUEST_SECONDS, "model"
)
PROMPT_TOKENS = _histogram("request_prompt_tokens", "Tokens of a request's prompt.", _TOKENS, "model")
GENERATION_TOKENS = _histogram("request_generation_tokens", "Tokens of an answer.", _TOKENS, "model")
REQUEST_SUCCESS = _counter(
    "request_success",
    "Requests that have ended, by why: stop, length, tool_calls, abort or error.",
    "model",
    "finished_reason",
)
RETRIEVAL_SECONDS = _histogram(
    "retrieval_seconds", "Time of the search before an answer from documents.", _STEP_SECONDS, "model"
)

# Jobs of every kind, in the worker that runs them.

JOBS = _counter("jobs", "Jobs that have ended, by how: completed, failed or cancelled.", "kind", "outcome")
JOB_SECONDS = _histogram("job_seconds", "Time from the request for a job to its end.", _REQUEST_SECONDS, "kind")
QUEUE_WAIT = _histogram("queue_wait_seconds", "Time that a job's message waited in a queue.", _WAIT_SECONDS, "queue")

# Documents, in the index worker, which knows all times of a document when search finds it.

DOCUMENTS_INDEXED = _counter("documents_indexed", "Versions of documents that search finds now.", "collection")
CHUNKS_INDEXED = _counter("chunks_indexed", "Chunks of these documents.")
CHUNKS_EMBEDDED = _counter("chunks_embedded", "Chunks whose text had no vector yet.")
DOCUMENT_STAGE = _histogram(
    "document_stage_seconds",
    "Time of a document in a stage: queue, parse, wait (for the index worker) or index (embedding and upsert).",
    _DOCUMENT_SECONDS,
    "stage",
)
DOCUMENT_SECONDS = _histogram(
    "document_seconds", "Time from a new version of a document to when search finds it.", _DOCUMENT_SECONDS, "source"
)
EMBED_SECONDS = _histogram("embed_seconds", "Time to embed a batch of chunks, its wait included.", _STEP_SECONDS)
UPSERT_SECONDS = _histogram("upsert_seconds", "Time to write a batch of points.", _STEP_SECONDS)

# Watched folders. The lag is measured by the index worker, the rest by the watcher.

WATCHER_LAG = _histogram(
    "watcher_lag_seconds",
    "Time from a file's last change in a watched folder to when search finds that version.",
    _DOCUMENT_SECONDS,
    "collection",
)
WATCHER_EVENTS = _counter("watcher_events", "Paths that the file system has reported.", "collection")
WATCHER_LOST_EVENTS = _counter("watcher_lost_events", "Times that events were lost, and a scan began.", "collection")
WATCHER_RESCANS = _counter("watcher_rescans", "Scans of a whole watched folder.", "collection")
WATCHER_RESCAN_SECONDS = _counter("watcher_rescan_seconds", "Time that these scans took.", "collection")

REGISTRY.register(ProcessMemory())
