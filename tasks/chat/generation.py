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
from tasks.chat.choices import Choice, Flight, translate
from tasks.chat.constraints import ConstraintFactory, can_cite, is_free, sampling_of
from tasks.chat.conversation import Round, Talk
from tasks.chat.outbox import Outbox
from tasks.chat.resume_state import Past
from tasks.chat.rewriting import Asides, QueryRewriter
from tasks.chat.server_functions import FunctionCalls, ServerFunctions
from tasks.chat.tool_rounds import ToolRounds
from tasks.jobs.names import Queue, Task
from tasks.jobs.producer import Producer
from tasks.jobs.records import Append
from tasks.jobs.runner import ChoiceResult, JobCancelled, JobDesk, JobResult, RunningJob, with_patience

log = logging.getLogger(__name__)


@dataclass
class Work:
    """What a job keeps busy at the moment, and so what its cancellation has to stop."""

    flights: list[Flight] = field(default_factory=list)
    calls: FunctionCalls = field(default_factory=FunctionCalls)


class GenerationService:
    """Runs `inference.generate`. `context` is given to the functions, with a search in the documents added."""

    def __init__(
        self,
        settings: Settings,
        producer: Producer,
        desk: JobDesk,
        registry: FunctionRegistry = function_registry,
        context: FunctionContext | None = None,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._records = producer.records
        self._batch_room = threading.BoundedSemaphore(settings.slots)
        self._desk = desk
        self._outbox = Outbox(settings.stream_interval_ms / 1000)
        self._flights: dict[str, Flight] = {}
        self._publisher = threading.Thread(target=self._publish, name="publisher", daemon=True)
        self._asides = Asides()
        self.engine: Engine = open_engine(settings, self._take_step)
        self._rewriter = QueryRewriter(self.engine, self._asides)
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
            self._producer.hand_over(job.record, Task.SEARCH)

        def stop() -> None:
            for job in running:
                self._rewriter.abort(job.id, job.record.attempt)

        self._desk.run(job_id, work, stop)

    def _take_step(self, step: Sequence[SequenceEvent]) -> None:
        self._asides.take(step)
        self._outbox.put(step)

    def _feed_batch(self) -> None:
        try:
            self._producer.feed_batch()
        except Unavailable as error:
            log.warning("waiting batch jobs are left to reconciliation: %s", error.message)

    def _generate(self, job_id: str) -> None:
        work = Work()
        self._desk.run(job_id, lambda job: self._answer(job, work), lambda: self._stop(work))

    def _answer(self, job: RunningJob, work: Work) -> None:
        request = job.request(GenerateRequest)
        past = Past.of(self._records, job.record)
        hits, retrieval_ms = self._records.load_hits(job.id) if request.rag else ([], 0.0)
        if request.rag and not hits and is_free(request) and not request.server_tools:
            self._say_nothing_found(job, past, retrieval_ms)
            return
        talk, used = self._talk(request, hits)
        prepared = self._prepare(talk.request)
        self._rounds.constraint(talk, prepared.max_tokens)  # what cannot be enforced is refused before anything is told
        self._accept(job, past, prepared, used if request.rag else None)
        last = self._converse(job, work, talk, past, prepared)
        self._land(job, talk, last, used, retrieval_ms)

    def _talk(self, request: GenerateRequest, hits: list[Hit]) -> tuple[Talk, list[Hit]]:
        """The conversation with the hits in it, and those that fit."""
        if request.n > self._settings.slots:
            raise InvalidRequest(f"n is {request.n}; this server gives at most {self._settings.slots}.", param="n")
        own = self._rounds.functions.tools_of(request)
        tools = [*request.tools, *own]
        messages, used = list(request.messages), list[Hit]()
        if request.rag:
            wanted = request.max_tokens or self._settings.max_tokens
            told = self.engine.count_tokens(json.dumps(tools)) if tools else 0
            budget = max(0, self._settings.context_length - wanted - told)
            template = self._settings.rag_prompt_template or DEFAULT_TEMPLATE
            messages, used = rag_messages(messages, hits, budget, self.engine.count_tokens, template)
            if hits and not used and is_free(request):
                self._refuse_without_room(request, wanted)
        request = msgspec.structs.replace(request, messages=messages, tools=tools)
        names = frozenset(tool["function"]["name"] for tool in own)
        sources = [hit.text for hit in used] if can_cite(request) else None
        return Talk(request, names, messages=messages, sources=sources), used

    def _refuse_without_room(self, request: GenerateRequest, wanted_tokens: int) -> None:
        """Raises InvalidRequest: without what was found the model would invent the answer."""
        self._prepare(request)  # a prompt that is too long by itself is told as such
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

    def _accept(self, job: RunningJob, past: Past, prepared: PreparedPrompt, used: list[Hit] | None) -> None:
        if past.accepted:
            return
        accepted = events.Accepted(**job.base(), model=self.engine.model.name, prompt_tokens=len(prepared.token_ids))
        if used is None:
            job.emit(accepted, state="accepted")
        else:
            job.emit(events.Retrieved(**job.base(), hits=used), accepted, state="accepted")

    def _converse(self, job: RunningJob, work: Work, talk: Talk, past: Past, prepared: PreparedPrompt | None) -> Flight:
        """Goes on from `past`, round by round, to the end of the answer."""
        for done in past.rounds:
            talk.rounds.append(done)
            prepared = self._rounds.answer(job, work.calls, talk)
        while True:
            flight = self._flight(job, talk, past)
            work.flights[:] = [flight]
            if talk.end_reason is not None or prepared is None:
                self._end(flight, talk.end_reason or "length")
                return flight
            self._fly(flight, talk.next_request(), prepared, self._rounds.constraint(talk, prepared.max_tokens))
            said = flight.choices[0]
            if not said.result.tool_results:
                return flight
            talk.rounds.append(Round(said.result, said.usage, said.timings))
            past = Past(accepted=True, told=[])
            prepared = self._rounds.answer(job, work.calls, talk)

    def _flight(self, job: RunningJob, talk: Talk, past: Past) -> Flight:
        tools, form = talk.next_request().tools, self.engine.grammars.call_format
        choices = past.choices(talk.request.n, partial(form.parser, tools) if tools else None)
        for choice in choices:
            choice.server_names, choice.earlier_results = talk.server_names, talk.calls_so_far
            if talk.sources is not None:
                choice.citer = Citer(talk.sources, len(choice.result.text))
        return Flight(job, choices, round=len(talk.rounds))

    def _end(self, flight: Flight, reason: str) -> None:
        """The answer ends with the results of its functions."""
        choice = flight.choices[0].result
        if choice.finish_reason is None:
            choice.finish_reason = reason
            flight.job.emit(events.ChoiceFinished(**flight.job.base(), finish_reason=reason))

    def _fly(
        self, flight: Flight, request: GenerateRequest, prepared: PreparedPrompt, constraint: ConstraintFactory | None
    ) -> None:
        """Submits what is not finished yet and waits until it is."""
        job = flight.job
        if flight.landed:
            return
        for choice in flight.choices:
            self._flights[flight.sequence_id(choice.result.index)] = flight
        try:
            for choice in flight.choices:
                if not choice.finished:
                    sequence = self._sequence(flight, choice, request, prepared)
                    self.engine.submit(replace(sequence, constraint=constraint))
            job.check()
            flight.done.wait()
        finally:
            for sequence_id in flight.sequence_ids:
                self.engine.abort(sequence_id, "cancelled")
            for choice in flight.choices:
                self._flights.pop(flight.sequence_id(choice.result.index), None)
        if flight.error:
            raise flight.error
        if flight.aborted is not None or job.replaced:
            raise JobCancelled(flight.aborted or "cancelled")

    def _sequence(
        self, flight: Flight, choice: Choice, request: GenerateRequest, prepared: PreparedPrompt
    ) -> SequenceRequest:
        record = flight.job.record
        return SequenceRequest(
            sequence_id=flight.sequence_id(choice.result.index),
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

    def _land(self, job: RunningJob, talk: Talk, last: Flight, hits: list[Hit], retrieval_ms: float) -> None:
        done = [choice for choice in last.choices if choice.usage.prompt_tokens] or last.choices
        slowest = max(done, key=lambda choice: choice.timings.generation_ms)
        usage = Usage(
            prompt_tokens=done[0].usage.prompt_tokens,
            completion_tokens=sum(choice.usage.completion_tokens for choice in last.choices),
            cached_tokens=done[0].usage.cached_tokens,
        )
        choices = [choice.result for choice in last.choices]
        if talk.rounds:
            choices = [talk.whole(choices[0])]
        timings = talk.timings(slowest.timings, retrieval_ms)
        usage = talk.usage(usage)
        if talk.request.rag:
            usage += self._records.load_rewrite_usage(job.id)
        self._desk.complete(job, JobResult(self.engine.model.name, choices, hits, usage, timings))

    def _say_nothing_found(self, job: RunningJob, past: Past, retrieval_ms: float) -> None:
        """Without a relevant passage the model would invent, so it is not asked."""
        text = self._settings.rag_nothing_found
        if not past.accepted:
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
        self._desk.complete(job, JobResult(self.engine.model.name, choices, usage=usage, timings=timings))

    def _stop(self, work: Work) -> None:
        self._abort_all(work.flights)
        work.calls.interrupt()

    def _abort_all(self, flights: Sequence[Flight]) -> None:
        for flight in flights:
            for sequence_id in flight.sequence_ids:
                self.engine.abort(sequence_id, "cancelled")

    # The publisher thread

    def _publish(self) -> None:
        while (portion := self._outbox.take()) is not None:
            try:
                self._publish_events(portion)
            except Exception:  # jobs whose events cannot be told must end, not hang
                log.exception("events could not be published")
                self._ground(portion)

    def _publish_events(self, batch: Sequence[SequenceEvent]) -> None:
        items: dict[int, tuple[Flight, list[events.AnyEvent]]] = {}
        for event in batch:
            flight = self._flights.get(event.sequence_id)
            if flight is not None:
                _, told = items.setdefault(id(flight), (flight, []))
                told.extend(translate(flight, event))
        appends: list[Append] = []
        flights: list[Flight] = []
        for flight, told in items.values():
            if told:
                state = "running" if any(isinstance(event, events.Started) for event in told) else ""
                appends.append(flight.job.as_append(*told, state=state))
                flights.append(flight)
        if appends:
            outcomes = with_patience(lambda: self._records.append_many(appends))
            for flight, outcome in zip(flights, outcomes, strict=True):
                flight.job.note(outcome)
                if flight.job.replaced or flight.job.cancelled:
                    self._abort_all([flight])
        for flight, _ in items.values():
            if flight.landed:
                flight.done.set()

    def _ground(self, batch: Sequence[SequenceEvent]) -> None:
        for flight in {id(found): found for event in batch if (found := self._flights.get(event.sequence_id))}.values():
            flight.error = flight.error or Unavailable("The answer could not be delivered.", code="queue_unavailable")
            flight.done.set()
