"""What the metrics say of jobs. The inference workers' have the names that vLLM gives its own."""

from __future__ import annotations

import time

from core import metrics
from core.messages import CompleteRequest, GenerateRequest
from tasks.jobs.job_record import JobRecord, ServedModel
from tasks.jobs.queues import Role
from tasks.jobs.runner import JobResult, RunningJob

#: The reasons for which a request that is not completed has ended.
_REASONS = {"failed": "error", "cancelled": "abort"}


class JobMetrics:
    """Observes the jobs of a worker."""

    def claimed(self, record: JobRecord) -> None:
        """Note how long the job has waited for this task."""
        metrics.QUEUE_WAIT.labels(record.queue_name).observe(_since(record.submitted))

    def ended(self, job: RunningJob, served: ServedModel) -> None:
        """Note how the job ended and how long it took. One that goes on elsewhere is not counted here."""
        if job.outcome is None:
            return
        record = job.record
        seconds = _since(record.created or record.submitted)
        metrics.JOBS.labels(record.kind.name, job.outcome).inc()
        metrics.JOB_SECONDS.labels(record.kind.name).observe(seconds)
        if record.task.queue.role is Role.INFERENCE and issubclass(record.kind.request, _ANSWERED):
            _observe_answer(job, served.slug, seconds)


_ANSWERED = (GenerateRequest, CompleteRequest)


def _observe_answer(job: RunningJob, model: str, seconds: float) -> None:
    reason = _REASONS.get(job.outcome or "", "")
    metrics.REQUEST_SUCCESS.labels(model, reason or _finish_reason(job.result)).inc()
    metrics.E2E_LATENCY.labels(model).observe(seconds)
    record = job.record
    # A later attempt goes on with the text of an earlier one.
    if job.first_text_at is not None and record.attempt == 1:
        began = record.created or record.submitted
        metrics.TIME_TO_FIRST_TOKEN.labels(model).observe(max(0.0, job.first_text_at - began))
    if (result := job.result) is None:
        return
    timings = result.timings
    metrics.QUEUE_TIME.labels(model).observe(max(0.0, job.waited_seconds) + timings.queue_ms / 1000)
    metrics.PREFILL_TIME.labels(model).observe(timings.prompt_ms / 1000)
    metrics.DECODE_TIME.labels(model).observe(timings.generation_ms / 1000)
    metrics.PROMPT_TOKENS.labels(model).observe(result.usage.prompt_tokens)
    metrics.GENERATION_TOKENS.labels(model).observe(result.usage.completion_tokens)
    if timings.retrieval_ms:
        metrics.RETRIEVAL_SECONDS.labels(model).observe(timings.retrieval_ms / 1000)


def _finish_reason(result: JobResult | None) -> str:
    """Return why the first choice ended: "stop" if it does not say."""
    choices = result.choices if result is not None else []
    return (choices[0].finish_reason if choices else None) or "stop"


def _since(unix_seconds: float) -> float:
    return max(0.0, time.time() - unix_seconds)
