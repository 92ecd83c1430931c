"""Generation for jobs: answers chats in rounds, and passes raw completions and tokens to those who serve them.

The thread of a task prepares its job, runs its sequences (`tasks.chat.sequence_runs`) and completes the job. If the
model calls functions of the server, it runs them between two rounds, in which time the job has no sequence in the
engine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from core import events
from core.errors import Unavailable
from core.messages import GenerateRequest, Timings
from core.models.names import model_slug
from core.settings import Settings
from inference.engine.engine import Engine
from inference.engine.opening import open_engine
from inference.engine.preparation import PreparedPrompt
from inference.engine.sequence import SequenceEvent, SequenceRequest, constrained
from inference.functions import FunctionContext, FunctionRegistry, function_registry
from inference.text.citations import Citer
from tasks.chat.answer_check import check_of
from tasks.chat.choices import Choice, SequenceRun
from tasks.chat.completions import Completions
from tasks.chat.constraints import accepts_any_text, sampling_of
from tasks.chat.conversation import Conversation, Round
from tasks.chat.outbox import Outbox
from tasks.chat.prompts import PromptBuilder
from tasks.chat.resume_state import ResumeState
from tasks.chat.rewriting import AuxiliaryGenerations, QueryRewriter
from tasks.chat.sequence_runs import SequenceRuns
from tasks.chat.server_functions import FunctionCalls, ServerFunctions
from tasks.chat.tokens import TokenService
from tasks.chat.tool_rounds import ToolRounds
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Task, Tasks, queue_named
from tasks.jobs.runner import ChoiceResult, JobResult, JobRunner, RunningJob

log = logging.getLogger(__name__)

#: Prompts that are prepared at the same time. That is work in Python: with more of them, the engine's thread would wait
#: for the interpreter's lock behind all requests that come at once.
PREPARED_AT_ONCE = 2


@dataclass
class CancellableWork:
    """What the cancellation of a job must stop: its present round and its function calls."""

    run: SequenceRun | None = None
    calls: FunctionCalls = field(default_factory=FunctionCalls)

    def begin(self, run: SequenceRun) -> None:
        """Make this the present round."""
        self.run = run


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
        self._preparing = threading.BoundedSemaphore(PREPARED_AT_ONCE)
        self._batch_room = threading.BoundedSemaphore(settings.slots)
        self._runner = runner
        self._auxiliary_generations = AuxiliaryGenerations()
        outbox = Outbox(settings.stream_interval_ms / 1000)

        def receive(step: Sequence[SequenceEvent]) -> None:
            self._auxiliary_generations.receive(step)
            outbox.put(step)

        self.engine: Engine = open_engine(settings, receive, self._say_progress)
        self._runs = SequenceRuns(self.engine, producer.records, outbox)
        self._completions = Completions(self.engine, producer.records, runner, self._runs, settings.slots)
        #: Serves `inference.tokenize` and `inference.detokenize`.
        self.tokens = TokenService(self.engine, runner)
        self._rewriter = QueryRewriter(self.engine, self._auxiliary_generations, expands=settings.rag_expand)
        functions = ServerFunctions(registry)
        self._prompts = PromptBuilder(settings, self.engine, functions)
        self._rounds = ToolRounds(settings, self.engine, producer, functions, context or FunctionContext())
        threading.Thread(target=self.engine.grammars.warm_up, name="grammar", daemon=True).start()

    def close(self) -> None:
        """Stop the engine and publish its last events."""
        self.engine.close()
        self._runs.close()

    def generate(self, job_id: str, origin: str) -> None:
        """Answer a chat or RAG chat whose message came from the queue `origin`."""
        work = CancellableWork()
        self._run(job_id, Tasks.GENERATE, origin, lambda job: self._answer(job, work), lambda: self._stop(work))

    def complete(self, job_id: str, origin: str) -> None:
        """Continue the prompts of a raw completion whose message came from the queue `origin`."""
        work = CancellableWork()
        answer = self._completions.answer
        self._run(job_id, Tasks.COMPLETE, origin, lambda job: answer(job, work.begin), lambda: self._stop(work))

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

    def _say_progress(self, model: str, share: float) -> None:
        try:
            self._producer.models.set_loading_percent(model_slug(model), int(100 * share))
        except Unavailable as error:
            log.warning("nobody learns how far the model is loaded: %s", error.message)

    def _run(
        self,
        job_id: str,
        task: Task,
        origin: str,
        answer: Callable[[RunningJob], None],
        stop: Callable[[], None],
    ) -> None:
        """Run a job. Batch jobs occupy at most as many of the worker's threads as there are slots."""
        if queue_named(origin) is not Queue.BATCH:
            self._runner.run(job_id, task, answer, stop)
        elif self._batch_room.acquire(blocking=False):
            try:
                self._runner.run(job_id, task, answer, stop)
            finally:
                self._batch_room.release()
                self._feed_batch(origin)
        # Otherwise the job keeps its position in the queue, and `_feed_batch` sends it again.

    def _feed_batch(self, queue: str) -> None:
        try:
            self._producer.feed_batch(queue)
        except Unavailable as error:
            log.warning("waiting batch jobs are left for reconciliation to send: %s", error.message)

    def _answer(self, job: RunningJob, work: CancellableWork) -> None:
        request = job.request(GenerateRequest)
        resume = ResumeState.load(self._records, job.record)
        hits, retrieval_ms = self._records.load_hits(job.id) if request.rag else ([], 0.0)
        if request.rag and not hits and accepts_any_text(request) and not request.server_tools:
            self._answer_nothing_found(job, resume, retrieval_ms)
            return
        with self._preparing:
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
            work.begin(run)
            if conversation.end_reason is not None or prepared is None:
                self._finish_choice(run, conversation.end_reason or "length")
                return run
            grammar = self._rounds.constraint(conversation, prepared.max_tokens)
            for choice in run.choices:
                choice.check = check_of(grammar)
            request = conversation.next_request()
            sequences = [
                constrained(self._sequence(run, choice, request, prepared), grammar)
                for choice in run.choices
                if not choice.finished
            ]
            self._runs.run(run, sequences)
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
                choice.ground = conversation.ground
        return SequenceRun(job, choices, round=len(conversation.rounds))

    def _finish_choice(self, run: SequenceRun, reason: str) -> None:
        """Finish an answer that ends with the results of its functions, without another generation."""
        choice = run.choices[0].result
        if choice.finish_reason is None:
            choice.finish_reason = reason
            run.job.emit(events.ChoiceFinished(**run.job.event_fields(), finish_reason=reason))

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
        usage, timings = last.usage, last.timings
        choices = [choice.result for choice in last.choices]
        if conversation.rounds:
            choices = [conversation.combined_choice(choices[0])]
        timings = conversation.total_timings(timings, retrieval_ms)
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
            self._runs.abort(work.run)
        work.calls.interrupt()
