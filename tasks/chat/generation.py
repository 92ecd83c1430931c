"""Generation for jobs: runs their sequences in the engine and publishes the engine's events as job events.

The engine's thread queues the events of each step. One publisher thread translates them into job events, and appends
those of all jobs in one round trip. The thread of a task prepares its job, submits the sequences, waits for them, and
completes the job. If the model calls functions of the server, it runs them between two rounds, in which time the job
has no sequence in the engine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from core import events
from core.errors import InternalError, Unavailable
from core.messages import GenerateRequest, Timings, Usage
from core.settings import Settings
from inference.engine.engine import Engine
from inference.engine.opening import open_engine
from inference.engine.preparation import PreparedPrompt
from inference.engine.sequence import SequenceEvent, SequenceRequest, constrained
from inference.functions import FunctionContext, FunctionRegistry, function_registry
from inference.grammars.compiler import Grammar
from inference.text.citations import Citer
from tasks.chat.answer_check import check_of
from tasks.chat.choices import Choice, SequenceRun, translate
from tasks.chat.constraints import accepts_any_text, sampling_of
from tasks.chat.conversation import Conversation, Round
from tasks.chat.outbox import Outbox
from tasks.chat.prompts import PromptBuilder
from tasks.chat.resume_state import ResumeState
from tasks.chat.rewriting import AuxiliaryGenerations, QueryRewriter
from tasks.chat.server_functions import FunctionCalls, ServerFunctions
from tasks.chat.tool_rounds import ToolRounds
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Tasks
from tasks.jobs.records import Append
from tasks.jobs.redis_client import retrying
from tasks.jobs.runner import ChoiceResult, JobCancelled, JobResult, JobRunner, RunningJob

log = logging.getLogger(__name__)


@dataclass
class CancellableWork:
    """What the cancellation of a job must stop: its present round and its function calls."""

    run: SequenceRun | None = None
    calls: FunctionCalls = field(default_factory=FunctionCalls)


class GenerationService:
    """Runs `inference.generate` and `inference.rewrite`. Functions get `context` and a search in the documents."""

    def __init__(
        self,
        settings: Settings,
        producer: Producer,
        runner: JobRunner,
        registry: FunctionRegistry = function_registry,
        context: FunctionContext | None = None,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._records = producer.records
        self._batch_room = threading.BoundedSemaphore(settings.slots)
        self._runner = runner
        self._outbox = Outbox(settings.stream_interval_ms / 1000)
        self._runs: dict[str, SequenceRun] = {}
        self._publisher = threading.Thread(target=self._publish, name="publisher", daemon=True)
        self._auxiliary_generations = AuxiliaryGenerations()
        self.engine: Engine = open_engine(settings, self._receive_step)
        self._rewriter = QueryRewriter(self.engine, self._auxiliary_generations)
        functions = ServerFunctions(registry)
        self._prompts = PromptBuilder(settings, self.engine, functions)
        self._rounds = ToolRounds(settings, self.engine, producer, functions, context or FunctionContext())
        self._publisher.start()
        threading.Thread(target=self.engine.grammars.warm_up, name="grammar", daemon=True).start()

    def close(self) -> None:
        """Stop the engine and publish its last events."""
        self.engine.close()
        self._outbox.close()
        self._publisher.join(timeout=5)

    def generate(self, job_id: str, origin: Queue) -> None:
        """Answer a chat or RAG chat whose message came from the queue `origin`.

        Batch jobs occupy at most as many of the worker's threads as there are slots, so that some are left for others.
        """
        if origin is Queue.BATCH:
            if not self._batch_room.acquire(blocking=False):
                return  # the job keeps its position in the queue, and `_feed_batch` sends it again
            try:
                self._generate(job_id)
            finally:
                self._batch_room.release()
                self._feed_batch()
        else:
            self._generate(job_id)

    def rewrite(self, job_id: str) -> None:
        """Rewrite the follow-up question of a RAG chat, and hand the job over to the search even if that fails."""
        running: list[RunningJob] = []

        def work(job: RunningJob) -> None:
            running.append(job)
            query, usage = self._rewriter.rewrite(job, job.request(GenerateRequest))
            job.check()
            job.store_rewrite(query, usage)
            job.hand_over(self._producer, Tasks.RETRIEVE)

        def stop() -> None:
            for job in running:
                self._rewriter.abort(job.id, job.record.attempt)

        self._runner.run(job_id, Tasks.REWRITE, work, stop)

    def _receive_step(self, step: Sequence[SequenceEvent]) -> None:
        self._auxiliary_generations.receive(step)
        self._outbox.put(step)

    def _feed_batch(self) -> None:
        try:
            self._producer.feed_batch()
        except Unavailable as error:
            log.warning("waiting batch jobs are left for reconciliation to send: %s", error.message)

    def _generate(self, job_id: str) -> None:
        work = CancellableWork()
        self._runner.run(job_id, Tasks.GENERATE, lambda job: self._answer(job, work), lambda: self._stop(work))

    def _answer(self, job: RunningJob, work: CancellableWork) -> None:
        request = job.request(GenerateRequest)
        resume = ResumeState.load(self._records, job.record)
        hits, retrieval_ms = self._records.load_hits(job.id) if request.rag else ([], 0.0)
        if request.rag and not hits and accepts_any_text(request) and not request.server_tools:
            self._answer_nothing_found(job, resume, retrieval_ms)
            return
        conversation = self._prompts.begin(request, hits)
        prepared = self._prompts.prepare(conversation.request)
        # A schema that cannot be enforced is refused here, before `Accepted` is emitted.
        self._rounds.constraint(conversation, prepared.max_tokens)
        self._accept(job, resume, prepared, conversation)
        last = self._run_rounds(job, work, conversation, resume, prepared)
        self._complete(job, conversation, last, retrieval_ms)

    def _accept(
        self, job: RunningJob, resume: ResumeState, prepared: PreparedPrompt, conversation: Conversation
    ) -> None:
        if resume.accepted:
            return
        accepted = events.Accepted(
            **job.event_fields(),
            model=self.engine.model.name,
            prompt_tokens=len(prepared.token_ids),
            dropped_messages=conversation.dropped_messages,
        )
        if conversation.request.rag:
            job.emit(events.Retrieved(**job.event_fields(), hits=conversation.hits), accepted, state="accepted")
        else:
            job.emit(accepted, state="accepted")

    def _run_rounds(
        self,
        job: RunningJob,
        work: CancellableWork,
        conversation: Conversation,
        resume: ResumeState,
        prepared: PreparedPrompt | None,
    ) -> SequenceRun:
        """Run the rounds that follow `resume`, to the end of the answer. Return the last one."""
        for finished in resume.rounds:
            conversation.rounds.append(finished)
            prepared = self._rounds.complete_round(job, work.calls, conversation)
        while True:
            run = self._new_run(job, conversation, resume)
            work.run = run
            if conversation.end_reason is not None or prepared is None:
                self._finish_choice(run, conversation.end_reason or "length")
                return run
            grammar = self._rounds.constraint(conversation, prepared.max_tokens)
            for choice in run.choices:
                choice.check = check_of(grammar)
            self._run_sequences(run, conversation.next_request(), prepared, grammar)
            choice = run.choices[0]
            if not choice.result.tool_results:
                return run
            conversation.rounds.append(Round(choice.result, choice.usage, choice.timings))
            resume = ResumeState(accepted=True, replayed=[])
            prepared = self._rounds.complete_round(job, work.calls, conversation)

    def _new_run(self, job: RunningJob, conversation: Conversation, resume: ResumeState) -> SequenceRun:
        tools, form = conversation.next_request().tools, self.engine.grammars.call_format
        choices = resume.choices(conversation.request.n, partial(form.parser, tools) if tools else None)
        for choice in choices:
            choice.streams_calls = conversation.next_request().tool_choice == "required"
            choice.server_names, choice.earlier_calls = conversation.server_names, conversation.server_call_count
            if conversation.sources is not None:
                choice.citer = Citer(conversation.sources, len(choice.result.text))
        return SequenceRun(job, choices, round=len(conversation.rounds))

    def _finish_choice(self, run: SequenceRun, reason: str) -> None:
        """Finish an answer that ends with the results of its functions, without another generation."""
        choice = run.choices[0].result
        if choice.finish_reason is None:
            choice.finish_reason = reason
            run.job.emit(events.ChoiceFinished(**run.job.event_fields(), finish_reason=reason))

    def _run_sequences(
        self, run: SequenceRun, request: GenerateRequest, prepared: PreparedPrompt, grammar: Grammar | None
    ) -> None:
        """Submit the choices that are not finished, and wait until they are."""
        job = run.job
        if run.has_ended:
            return
        for choice in run.choices:
            self._runs[run.sequence_id(choice.result.index)] = run
        try:
            for choice in run.choices:
                if not choice.finished:
                    sequence = self._sequence(run, choice, request, prepared)
                    self.engine.submit(constrained(sequence, grammar))
            job.check()
            run.done.wait()
        finally:
            self._abort(run)
            for choice in run.choices:
                self._runs.pop(run.sequence_id(choice.result.index), None)
        if run.error:
            raise run.error
        if run.aborted is not None or job.replaced:
            raise JobCancelled(run.aborted or "cancelled")

    def _sequence(
        self, run: SequenceRun, choice: Choice, request: GenerateRequest, prepared: PreparedPrompt
    ) -> SequenceRequest:
        record = run.job.record
        return SequenceRequest(
            sequence_id=run.sequence_id(choice.result.index),
            prompt_token_ids=prepared.token_ids,
            sampling=sampling_of(request, choice.result.index),
            max_tokens=prepared.max_tokens,
            priority="batch" if record.queue is Queue.BATCH else "interactive",
            key=record.key,
            deadline=record.deadline,
            resume_token_ids=list(choice.token_ids),
            resume_text_length=choice.resume_text_length,
            resume_reasoning_length=len(choice.result.reasoning),
            marks=self.engine.grammars.call_format.marks if choice.reader else {},
            prompt_lookup=request.rag is not None,
            reasoning=prepared.reasoning,
        )

    def _complete(self, job: RunningJob, conversation: Conversation, last: SequenceRun, retrieval_ms: float) -> None:
        done = [choice for choice in last.choices if choice.usage.prompt_tokens] or last.choices
        slowest = max(done, key=lambda choice: choice.timings.generation_ms)
        usage = Usage(
            prompt_tokens=done[0].usage.prompt_tokens,
            completion_tokens=sum(choice.usage.completion_tokens for choice in last.choices),
            cached_tokens=done[0].usage.cached_tokens,
            reasoning_tokens=sum(choice.usage.reasoning_tokens for choice in last.choices),
        )
        choices = [choice.result for choice in last.choices]
        if conversation.rounds:
            choices = [conversation.combined_choice(choices[0])]
        timings = conversation.total_timings(slowest.timings, retrieval_ms)
        usage = conversation.total_usage(usage)
        if conversation.request.rag:
            usage += self._records.load_rewrite_usage(job.id)
        self._runner.complete(job, JobResult(self.engine.model.name, choices, conversation.hits, usage, timings))

    def _answer_nothing_found(self, job: RunningJob, resume: ResumeState, retrieval_ms: float) -> None:
        """Answer that nothing was found, without asking the model, which would invent an answer."""
        text = self._settings.rag_nothing_found
        if not resume.accepted:
            job.emit(
                events.Retrieved(**job.event_fields(), hits=[]),
                events.Accepted(**job.event_fields(), model=self.engine.model.name),
                events.TextDelta(**job.event_fields(), text=text),
                events.ChoiceFinished(**job.event_fields(), finish_reason="stop"),
                state="running",
            )
        choices = [ChoiceResult(text=text, finish_reason="stop")]
        timings = Timings(retrieval_ms=retrieval_ms)
        usage = self._records.load_rewrite_usage(job.id)
        self._runner.complete(job, JobResult(self.engine.model.name, choices, usage=usage, timings=timings))

    def _stop(self, work: CancellableWork) -> None:
        if work.run is not None:
            self._abort(work.run)
        work.calls.interrupt()

    def _abort(self, run: SequenceRun) -> None:
        for sequence_id in run.sequence_ids:
            self.engine.abort(sequence_id, "cancelled")

    # The publisher thread

    def _publish(self) -> None:
        while (portion := self._outbox.take()) is not None:
            try:
                self._publish_events(portion)
            except Exception:  # jobs whose events cannot be published must end, not hang
                log.exception("events could not be published")
                self._fail_runs(portion)

    def _publish_events(self, portion: Sequence[SequenceEvent]) -> None:
        found: dict[int, tuple[SequenceRun, list[SequenceEvent]]] = {}
        for event in portion:
            run = self._runs.get(event.sequence_id)
            if run is not None:
                found.setdefault(id(run), (run, []))[1].append(event)
        appends = [
            (run, append) for run, events_of_run in found.values() if (append := self._append(run, events_of_run))
        ]
        if appends:
            outcomes = retrying(self._records.append_many, [append for _, append in appends])
            for (run, _), outcome in zip(appends, outcomes, strict=True):
                run.job.update_from(outcome)
                if run.job.replaced or run.job.cancelled:
                    self._abort(run)
        for run, _ in found.values():
            if run.has_ended:
                run.done.set()

    def _append(self, run: SequenceRun, engine_events: Sequence[SequenceEvent]) -> Append | None:
        """Return the engine's events as job events to append, or None if there are none or the run has failed.

        A fault fails this run only, as its events would leave a gap in the answer.
        """
        if run.error is not None:
            return None
        try:
            items = [item for event in engine_events for item in translate(run, event)]
            if not items:
                return None
            state = "running" if any(isinstance(item, events.Started) for item in items) else ""
            append = run.job.as_append(*items, state=state)
            _ = append.payloads
            return append
        except Exception:  # translating and encoding may fail in any way
            log.exception("the events of job %s cannot be written", run.job.id)
            run.error = InternalError("A part of the answer could not be written; the server's log says why.")
            self._abort(run)
            return None

    def _fail_runs(self, portion: Sequence[SequenceEvent]) -> None:
        for run in {id(found): found for event in portion if (found := self._runs.get(event.sequence_id))}.values():
            run.error = run.error or Unavailable("The answer could not be delivered.", code="queue_unavailable")
            run.done.set()
