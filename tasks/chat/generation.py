"""Generation for jobs: the bridge between the engine's steps and the jobs' events.

The engine's thread hands over the events of each step; one publisher thread turns them into job events and appends
those of all jobs in one round trip. A task's thread prepares its job, submits the sequences, waits, and ends the job.
Where the model calls functions of the server it runs them in between, while the job has nothing in the engine.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec

from core import events
from core.errors import InvalidRequest, Unavailable
from core.messages import GenerateRequest, Hit, Timings, Usage
from core.settings import Settings
from inference.engine.engine import Engine, open_engine
from inference.engine.preparation import PreparedPrompt
from inference.engine.sequence import SequenceEvent, SequenceRequest
from inference.functions import FunctionContext, FunctionRegistry, function_registry
from inference.text.citations import Citer
from inference.text.rag_prompt import DEFAULT_TEMPLATE, rag_messages
from tasks.chat.choices import Choice, SequenceRun, translate
from tasks.chat.constraints import ConstraintFactory, can_cite, is_free, sampling_of
from tasks.chat.conversation import Conversation, Round
from tasks.chat.outbox import Outbox
from tasks.chat.resume_state import ResumeState
from tasks.chat.rewriting import QueryRewriter, SideGenerations
from tasks.chat.server_functions import FunctionCalls, ServerFunctions
from tasks.chat.tool_rounds import ToolRounds
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Tasks
from tasks.jobs.records import Append
from tasks.jobs.runner import ChoiceResult, JobCancelled, JobResult, JobRunner, RunningJob, retrying

log = logging.getLogger(__name__)


@dataclass
class Work:
    """What a job keeps busy at the moment, and so what its cancellation has to stop."""

    runs: list[SequenceRun] = field(default_factory=list)
    calls: FunctionCalls = field(default_factory=FunctionCalls)


class GenerationService:
    """Runs `inference.generate`. `context` is given to the functions, with a search in the documents added."""

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
        self._side_generations = SideGenerations()
        self.engine: Engine = open_engine(settings, self._take_step)
        self._rewriter = QueryRewriter(self.engine, self._side_generations)
        functions = ServerFunctions(registry, self.engine.grammars)
        self._rounds = ToolRounds(settings, self.engine, producer, functions, context or FunctionContext())
        self._publisher.start()
        threading.Thread(target=self.engine.grammars.warm_up, name="grammar", daemon=True).start()

    def close(self) -> None:
        """Stops the engine and publishes what it still had to say."""
        self.engine.close()
        self._outbox.close()
        self._publisher.join(timeout=5)

    def generate(self, job_id: str, origin: Queue) -> None:
        """Answers a chat or RAG chat that came from the queue `origin`. Batch work takes as many of the threads as
        there are slots, never all of them.
        """
        if origin is Queue.BATCH:
            if not self._batch_room.acquire(blocking=False):
                return  # it keeps its place among the waiting, and is sent again when one of them is done
            try:
                self._generate(job_id)
            finally:
                self._batch_room.release()
                self._feed_batch()
        else:
            self._generate(job_id)

    def rewrite(self, job_id: str) -> None:
        """Rewrites a follow-up question, and hands the job over to the search whatever comes of that."""
        running: list[RunningJob] = []

        def work(job: RunningJob) -> None:
            running.append(job)
            query, usage = self._rewriter.rewrite(job, job.request(GenerateRequest))
            job.check()
            self._records.keep_rewrite(job.id, query, usage)
            self._producer.hand_over(job.record, Tasks.RETRIEVE)

        def stop() -> None:
            for job in running:
                self._rewriter.abort(job.id, job.record.attempt)

        self._runner.run(job_id, Tasks.REWRITE, work, stop)

    def _take_step(self, step: Sequence[SequenceEvent]) -> None:
        self._side_generations.take(step)
        self._outbox.put(step)

    def _feed_batch(self) -> None:
        try:
            self._producer.feed_batch()
        except Unavailable as error:
            log.warning("waiting batch jobs are left to reconciliation: %s", error.message)

    def _generate(self, job_id: str) -> None:
        work = Work()
        self._runner.run(job_id, Tasks.GENERATE, lambda job: self._answer(job, work), lambda: self._stop(work))

    def _answer(self, job: RunningJob, work: Work) -> None:
        request = job.request(GenerateRequest)
        resume = ResumeState.of(self._records, job.record)
        hits, retrieval_ms = self._records.load_hits(job.id) if request.rag else ([], 0.0)
        if request.rag and not hits and is_free(request) and not request.server_tools:
            self._say_nothing_found(job, resume, retrieval_ms)
            return
        conversation, used = self._conversation(request, hits)
        prepared = self._prepare(conversation.request)
        self._rounds.constraint(
            conversation, prepared.max_tokens
        )  # what cannot be enforced is refused before anything is emitted
        self._accept(job, resume, prepared, used if request.rag else None)
        last = self._converse(job, work, conversation, resume, prepared)
        self._complete(job, conversation, last, used, retrieval_ms)

    def _conversation(self, request: GenerateRequest, hits: list[Hit]) -> tuple[Conversation, list[Hit]]:
        """The conversation with the hits in it, and those that fit."""
        if request.n > self._settings.slots:
            raise InvalidRequest(f"n is {request.n}; this server gives at most {self._settings.slots}.", param="n")
        own = self._rounds.functions.tools_of(request)
        tools = [*request.tools, *own]
        messages, used = list(request.messages), list[Hit]()
        if request.rag:
            wanted = request.max_tokens or self._settings.max_tokens
            emitted = self.engine.count_tokens(json.dumps(tools)) if tools else 0
            budget = max(0, self._settings.context_length - wanted - emitted)
            template = self._settings.rag_prompt_template or DEFAULT_TEMPLATE
            messages, used = rag_messages(messages, hits, budget, self.engine.count_tokens, template)
            if hits and not used and is_free(request):
                self._refuse_without_room(request, wanted)
        request = msgspec.structs.replace(request, messages=messages, tools=tools)
        names = frozenset(tool["function"]["name"] for tool in own)
        sources = [hit.text for hit in used] if can_cite(request) else None
        return Conversation(request, names, messages=messages, sources=sources), used

    def _refuse_without_room(self, request: GenerateRequest, wanted_tokens: int) -> None:
        """Raises InvalidRequest: without what was found the model would invent the answer."""
        self._prepare(request)  # a prompt that is too long by itself is emitted as such
        raise InvalidRequest(
            f"The context of {self._settings.context_length} tokens has no room for what was found: {wanted_tokens} "
            "are for the answer (max_tokens), the others for the conversation. Shorten one of them.",
            param="max_tokens",
            code="context_length_exceeded",
        )

    def _prepare(self, request: GenerateRequest) -> PreparedPrompt:
        return self.engine.prepare(
            request.messages, tools=request.tools or None, max_tokens=request.max_tokens, sampling=request.sampling
        )

    def _accept(self, job: RunningJob, resume: ResumeState, prepared: PreparedPrompt, used: list[Hit] | None) -> None:
        if resume.accepted:
            return
        accepted = events.Accepted(**job.base(), model=self.engine.model.name, prompt_tokens=len(prepared.token_ids))
        if used is None:
            job.emit(accepted, state="accepted")
        else:
            job.emit(events.Retrieved(**job.base(), hits=used), accepted, state="accepted")

    def _converse(
        self,
        job: RunningJob,
        work: Work,
        conversation: Conversation,
        resume: ResumeState,
        prepared: PreparedPrompt | None,
    ) -> SequenceRun:
        """Goes on from `resume`, round by round, to the end of the answer."""
        for done in resume.rounds:
            conversation.rounds.append(done)
            prepared = self._rounds.answer(job, work.calls, conversation)
        while True:
            run = self._new_run(job, conversation, resume)
            work.runs[:] = [run]
            if conversation.end_reason is not None or prepared is None:
                self._end(run, conversation.end_reason or "length")
                return run
            self._run_sequences(
                run, conversation.next_request(), prepared, self._rounds.constraint(conversation, prepared.max_tokens)
            )
            said = run.choices[0]
            if not said.result.tool_results:
                return run
            conversation.rounds.append(Round(said.result, said.usage, said.timings))
            resume = ResumeState(accepted=True, replayed=[])
            prepared = self._rounds.answer(job, work.calls, conversation)

    def _new_run(self, job: RunningJob, conversation: Conversation, resume: ResumeState) -> SequenceRun:
        tools, form = conversation.next_request().tools, self.engine.grammars.call_format
        choices = resume.choices(conversation.request.n, partial(form.parser, tools) if tools else None)
        for choice in choices:
            choice.server_names, choice.earlier_results = conversation.server_names, conversation.calls_so_far
            if conversation.sources is not None:
                choice.citer = Citer(conversation.sources, len(choice.result.text))
        return SequenceRun(job, choices, round=len(conversation.rounds))

    def _end(self, run: SequenceRun, reason: str) -> None:
        """The answer ends with the results of its functions."""
        choice = run.choices[0].result
        if choice.finish_reason is None:
            choice.finish_reason = reason
            run.job.emit(events.ChoiceFinished(**run.job.base(), finish_reason=reason))

    def _run_sequences(
        self, run: SequenceRun, request: GenerateRequest, prepared: PreparedPrompt, constraint: ConstraintFactory | None
    ) -> None:
        """Submits what is not finished yet and waits until it is."""
        job = run.job
        if run.has_ended:
            return
        for choice in run.choices:
            self._runs[run.sequence_id(choice.result.index)] = run
        try:
            for choice in run.choices:
                if not choice.finished:
                    sequence = self._sequence(run, choice, request, prepared)
                    self.engine.submit(replace(sequence, constraint=constraint))
            job.check()
            run.done.wait()
        finally:
            for sequence_id in run.sequence_ids:
                self.engine.abort(sequence_id, "cancelled")
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
            marks=self.engine.grammars.call_format.marks if choice.reader else {},
            prompt_lookup=request.rag is not None,
        )

    def _complete(
        self, job: RunningJob, conversation: Conversation, last: SequenceRun, hits: list[Hit], retrieval_ms: float
    ) -> None:
        done = [choice for choice in last.choices if choice.usage.prompt_tokens] or last.choices
        slowest = max(done, key=lambda choice: choice.timings.generation_ms)
        usage = Usage(
            prompt_tokens=done[0].usage.prompt_tokens,
            completion_tokens=sum(choice.usage.completion_tokens for choice in last.choices),
            cached_tokens=done[0].usage.cached_tokens,
        )
        choices = [choice.result for choice in last.choices]
        if conversation.rounds:
            choices = [conversation.whole(choices[0])]
        timings = conversation.timings(slowest.timings, retrieval_ms)
        usage = conversation.usage(usage)
        if conversation.request.rag:
            usage += self._records.load_rewrite_usage(job.id)
        self._runner.complete(job, JobResult(self.engine.model.name, choices, hits, usage, timings))

    def _say_nothing_found(self, job: RunningJob, resume: ResumeState, retrieval_ms: float) -> None:
        """Without a relevant passage the model would invent, so it is not asked."""
        text = self._settings.rag_nothing_found
        if not resume.accepted:
            job.emit(
                events.Retrieved(**job.base(), hits=[]),
                events.Accepted(**job.base(), model=self.engine.model.name),
                events.TextDelta(**job.base(), text=text),
                events.ChoiceFinished(**job.base(), finish_reason="stop"),
                state="running",
            )
        choices = [ChoiceResult(text=text, finish_reason="stop")]
        timings = Timings(retrieval_ms=retrieval_ms)
        usage = self._records.load_rewrite_usage(job.id)
        self._runner.complete(job, JobResult(self.engine.model.name, choices, usage=usage, timings=timings))

    def _stop(self, work: Work) -> None:
        self._abort_all(work.runs)
        work.calls.interrupt()

    def _abort_all(self, runs: Sequence[SequenceRun]) -> None:
        for run in runs:
            for sequence_id in run.sequence_ids:
                self.engine.abort(sequence_id, "cancelled")

    # The publisher thread

    def _publish(self) -> None:
        while (portion := self._outbox.take()) is not None:
            try:
                self._publish_events(portion)
            except Exception:  # jobs whose events cannot be emitted must end, not hang
                log.exception("events could not be published")
                self._fail_runs(portion)

    def _publish_events(self, batch: Sequence[SequenceEvent]) -> None:
        items: dict[int, tuple[SequenceRun, list[events.AnyEvent]]] = {}
        for event in batch:
            run = self._runs.get(event.sequence_id)
            if run is not None:
                _, emitted = items.setdefault(id(run), (run, []))
                emitted.extend(translate(run, event))
        appends: list[Append] = []
        runs: list[SequenceRun] = []
        for run, emitted in items.values():
            if emitted:
                state = "running" if any(isinstance(event, events.Started) for event in emitted) else ""
                appends.append(run.job.as_append(*emitted, state=state))
                runs.append(run)
        if appends:
            outcomes = retrying(lambda: self._records.append_many(appends))
            for run, outcome in zip(runs, outcomes, strict=True):
                run.job.note(outcome)
                if run.job.replaced or run.job.cancelled:
                    self._abort_all([run])
        for run, _ in items.values():
            if run.has_ended:
                run.done.set()

    def _fail_runs(self, batch: Sequence[SequenceEvent]) -> None:
        for run in {id(found): found for event in batch if (found := self._runs.get(event.sequence_id))}.values():
            run.error = run.error or Unavailable("The answer could not be delivered.", code="queue_unavailable")
            run.done.set()
