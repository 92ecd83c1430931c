"""The engine: one thread that owns the model, and the methods that other threads may call.

Requests and aborts are messages to that thread. It runs steps: take messages, plan, decode, sample, emit events. The
sink is called once per step, on that thread, with the events of all sequences.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from core.errors import InternalError, LlmApiError, Unavailable
from core.messages import ChatMessage, PromptEnd, SamplingParams
from inference.engine.backend import Backend, BatchEntry, DecodeStatus
from inference.engine.bulk_share import BulkShare
from inference.engine.cache_layout import cache_of
from inference.engine.cache_operations import apply_operations
from inference.engine.inbox import Abort, Inbox, Searched, Submit, Wake
from inference.engine.preparation import Preparation, PreparedPrompt, chat_template_of
from inference.engine.running_sequence import Produced, RunningSequence
from inference.engine.sampling import seed_of
from inference.engine.scheduler import PlannedWork, Scheduler, StepPlan
from inference.engine.sequence import ActiveSequence, SequenceRequest, Sink
from inference.engine.stats import Counters, EngineStats
from inference.engine.step_events import StepEvents
from inference.engine.token_budget import TokenBudget
from inference.grammars.compiler import GrammarCompiler

#: After this many crashes without a successful step in between, the engine gives up.
MAX_CRASHES_IN_A_ROW = 3
#: Aborting a sequence interrupts the step only if the step computes at least this many tokens of its prompt: an
#: interruption also loses the work of the other sequences.
WORTH_INTERRUPTING_TOKENS = 128
#: How often deadlines are checked while nothing runs, and how often an idle engine shows that it does not hang.
WAITING_SECONDS, IDLE_SECONDS = 0.5, 5.0

log = logging.getLogger(__name__)


class Engine:
    """Serves sequences with one model. All public methods may be called from any thread."""

    def __init__(
        self,
        backend: Backend,
        *,
        slots: int,
        default_max_tokens: int | None = None,
        stream_gap_seconds: float = 0.25,
        bulk_share: BulkShare | None = None,
        sink: Sink,
    ) -> None:
        template = chat_template_of(backend)
        self.model = replace(backend.model, reasons=template.reasoning is not None)
        self._backend = backend
        self._sink = sink
        tile, cache, slots = backend.attention_tile, cache_of(backend), min(slots, backend.sequences)
        self._scheduler = Scheduler(slots, backend.batch_tokens, cache, equal_pieces=backend.has_streams, tile=tile)
        self._token_budget = TokenBudget(backend.batch_tokens, stream_gap_seconds, tile)
        self._bulk_share = bulk_share
        self._running_sequences: dict[str, RunningSequence] = {}
        self._inbox = Inbox()
        self._events = StepEvents()
        self._counters = Counters()
        #: Compiles the grammars for `SequenceRequest.constraint`, on the caller's thread.
        self.grammars = GrammarCompiler(backend.grammar_tokenizer, template.call_format)
        self._order = 0
        self._crashes_in_a_row = 0
        #: Whether there is nothing to compute until a message comes.
        self._must_wait = True
        #: Sequences with a long piece of their prompt in the running step: aborting one of them interrupts the step.
        self._prompts_in_step: frozenset[str] = frozenset()
        #: When the engine's thread last finished a turn, by `time.monotonic`. An idle engine finishes turns too.
        self.last_turn_at = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        #: Turns requests into tokens, on the caller's thread.
        self.preparation = Preparation(
            backend,
            template,
            context_length=self.model.context_length,
            vocab_size=self.model.vocab_size,
            default_max_tokens=default_max_tokens,
        )

    # Called from any thread

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the engine serves requests."""
        return self._thread.is_alive() and not self._closing.is_set()

    @property
    def silent_seconds(self) -> float:
        """The time since the engine's thread last finished a turn; if far longer than a step, the step hangs."""
        return time.monotonic() - self.last_turn_at

    def prepare(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        max_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        options: Mapping[str, Any] | None = None,
        prompt_end: PromptEnd = "answer",
    ) -> PreparedPrompt:
        """Return the prompt of a conversation; with `sampling`, check its parameters too.

        `options` are values for the chat template, such as `enable_thinking`.

        Raises:
            ContextLengthExceeded: if the prompt leaves no room for an answer.
            InvalidRequest: if the conversation is empty or malformed, or a parameter is out of bounds.
        """
        return self.preparation.prepare(
            messages,
            tools=tools,
            max_tokens=max_tokens,
            sampling=sampling,
            options=options,
            prompt_end=prompt_end,
        )

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens in a plain text."""
        return self.preparation.count_tokens(text)

    def submit(self, request: SequenceRequest) -> None:
        """Queue a sequence; its events come through the sink.

        Raises:
            ContextLengthExceeded: if its prompt does not fit.
            InvalidRequest: if a parameter is out of bounds.
            Unavailable: if the engine has stopped.
        """
        self.preparation.check(request)
        if not self.alive:
            raise Unavailable("The inference engine has stopped.")
        self._inbox.post(Submit(request, time.time()))
        if not self.alive:  # it may have stopped after the first check, without taking this message
            raise Unavailable("The inference engine has stopped.")

    def abort(self, sequence_id: str, reason: str = "cancelled") -> None:
        """Stop a sequence within one step; do nothing if it has already ended."""
        self._inbox.post(Abort(sequence_id, reason))
        if sequence_id in self._prompts_in_step:
            self._backend.interrupt()

    def close(self, timeout_seconds: float = 30.0) -> None:
        """Stop the engine, abort the sequences that have not ended, and free the model."""
        self._closing.set()
        self._inbox.post(Wake())
        self._backend.interrupt()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        self.grammars.close()
        if not self._thread.is_alive():
            self._backend.close()

    def stats(self) -> EngineStats:
        scheduler = self._scheduler
        return self._counters.snapshot(
            slots=scheduler.slots,
            running=len(scheduler.running),
            waiting=scheduler.waiting + len(self._inbox),
            preemptions=scheduler.preemptions,
            kv_used=scheduler.cache.used_cells,
            kv_total=scheduler.cache.cells,
            parked=scheduler.cache.parked_tokens,
        )

    # Called on the engine's thread only

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._turn()
                self.last_turn_at = time.monotonic()
                self._crashes_in_a_row = 0
            except Exception as error:  # the thread must survive any fault: it fails all sequences and starts afresh
                log.exception("The engine crashed")
                if not self._recover(error):
                    self._closing.set()
        self._end_all("the engine was closed")

    def _turn(self) -> None:
        """Take messages, check deadlines, run one step, deliver the events, and pause if bulk work needs the time."""
        self._take_messages(wait=self._must_wait)
        began = time.perf_counter()
        for sequence in self._scheduler.expired(time.time()):
            self._drop(sequence, "deadline")
        self._must_wait = self._scheduler.is_idle or not self._step()
        self._flush()
        # After the events, so that a client gets the end of its answer before the finished sequence is parked.
        self._apply_cache_operations()
        if self._bulk_share is not None and not self._must_wait:
            self._bulk_share.pause(time.perf_counter() - began)

    def _take_messages(self, *, wait: bool) -> None:
        """Take all messages; with `wait`, wait briefly for the first one."""
        self._backend.clear_interrupt()
        pause = IDLE_SECONDS if self._scheduler.is_idle else WAITING_SECONDS
        for message in self._inbox.take(pause if wait else None):
            if isinstance(message, Submit):
                self._accept(message)
            elif isinstance(message, Abort) and (known := self._scheduler.find(message.sequence_id)) is not None:
                self._drop(known, message.reason)
            elif isinstance(message, Searched) and (known := self._scheduler.find(message.sequence_id)) is not None:
                self._produce(known, self._running_sequence(known).decide)

    def _accept(self, message: Submit) -> None:
        request = message.request
        if self._scheduler.find(request.sequence_id) is not None:
            log.error("Sequence %s is already in the engine: the second request is ignored", request.sequence_id)
            return
        self._order += 1
        self._scheduler.add(ActiveSequence.of(request, message.arrived_at, self._order))

    def _step(self) -> bool:
        """Run a step; return False if there is nothing to compute, as all sequences wait for something."""
        decoding = [sequence for sequence in self._scheduler.running if sequence.is_decoding]
        for sequence in decoding:
            sequence.draft = self._running_sequence(sequence).draft()
        plan = self._scheduler.plan(partial(self._token_budget.limits, len(decoding)) if decoding else None)
        self._admit(plan)
        if not plan.work:
            return bool(plan.admitted)
        began = time.perf_counter()
        if self._decode(plan):
            self._scheduler.commit(plan)
            self._collect(plan)
            seconds = time.perf_counter() - began
            self._token_budget.observe(plan.pieces, plan.decoding, seconds)
            self._counters.observe_step(plan.pieces, len(plan.work), seconds, plan.decoding)
        return True

    def _admit(self, plan: StepPlan) -> None:
        for sequence in plan.admitted:
            sequence.started_at = time.time()
            try:
                running = self._running_sequence(sequence)
            except LlmApiError as error:  # the grammar does not allow the tokens that the sequence resumes with
                plan.drop(sequence)
                self._fail(sequence, error)
                continue
            self._events.started(sequence)
            if (reason := running.finished_by_resume) is not None:
                plan.drop(sequence)
                self._conclude(sequence, Produced(finish_reason=reason))

    def _decode(self, plan: StepPlan) -> bool:
        """Run the model over the plan; return False if the step has to be planned again."""
        if not self._apply_cache_operations():
            return False
        batch = [BatchEntry(work.sequence.held_id, work.tokens, work.start, work.rows) for work in plan.work]
        least = WORTH_INTERRUPTING_TOKENS if self._backend.can_trim else math.inf
        self._prompts_in_step = frozenset(
            work.sequence.request.sequence_id for work in plan.work if work.count >= least
        )
        status = self._backend.decode(batch)
        self._prompts_in_step = frozenset()
        if status is DecodeStatus.DONE:
            return True
        for work in plan.work:
            if not self._backend.can_trim or not self._backend.trim(work.sequence.held_id, work.start):
                self._scheduler.forget_prefix(work.sequence.held_id)
        if status is DecodeStatus.FULL:
            self._make_room()
        return False

    def _make_room(self) -> None:
        """Preempt a sequence, or fail it if it runs alone: the runtime has fewer free cells than the cache counted."""
        if self._scheduler.preempt_last() is None:
            self._fail(self._scheduler.running[0], InternalError("The KV cache has no room for this sequence."))

    def _apply_cache_operations(self) -> bool:
        """Apply the prompt cache's decisions; return False if one failed, so that the current plan is invalid."""
        lost = apply_operations(self._scheduler.cache.take_operations(), self._backend)
        for seq_id in lost:
            log.warning("A cached prompt could not be reused and is computed again")
            self._scheduler.forget_prefix(seq_id)
        return not lost

    def _collect(self, plan: StepPlan) -> None:
        """Sample a token for each sequence whose logits this step has computed."""
        for work, row in plan.sampled:
            self._running_sequence(work.sequence).expect(row)
        for work, row in plan.sampled:
            self._produce(work.sequence, partial(self._sample, work, row))

    def _sample(self, work: PlannedWork, row: int) -> Produced | None:
        produced = self._running_sequence(work.sequence).advance(row)
        if work.rows > 1 and produced is not None:
            self._scheduler.settle(work.sequence, produced.accepted)
        return produced

    def _produce(self, sequence: ActiveSequence, produce: Callable[[], Produced | None]) -> None:
        """Emit what a sequence produces, or go on without it until its search is done."""
        try:
            produced = produce()
        except LlmApiError as error:  # from this sequence's grammar: the others go on
            self._fail(sequence, error)
            return
        if produced is not None:
            if sequence.first_token_at is None:
                sequence.first_token_at = time.time()
                self._counters.observe_prompt(sequence.prompt_length, sequence.cached_tokens)
            self._counters.generated_tokens += len(produced.token_ids) - produced.scored
            self._conclude(sequence, produced)
        elif (search := self._running_sequence(sequence).waits_for) is not None:
            done = Searched(sequence.request.sequence_id)
            search.add_done_callback(lambda _: self._inbox.post(done))

    def _conclude(self, sequence: ActiveSequence, produced: Produced) -> None:
        """Emit what a step produced for a sequence, and end the sequence if it is finished."""
        if produced.finish_reason is None:
            self._events.produced(sequence, produced)
            return
        reasoning, text = self._running_sequence(sequence).finish()
        produced.reasoning += reasoning
        produced.text += text
        self._events.produced(sequence, produced)
        self._events.finished(sequence, produced.finish_reason)
        self._counters.cached_tokens += sequence.cached_tokens
        self._counters.finished += 1
        self._remove(sequence)

    # How sequences end

    def _drop(self, sequence: ActiveSequence, reason: str) -> None:
        self._remove(sequence)
        self._events.aborted(sequence.request.sequence_id, reason)

    def _fail(self, sequence: ActiveSequence, error: LlmApiError) -> None:
        self._remove(sequence)
        self._events.failed(sequence.request.sequence_id, error)

    def _remove(self, sequence: ActiveSequence) -> None:
        self._scheduler.remove(sequence)
        running = self._running_sequences.pop(sequence.request.sequence_id, None)
        if running is not None:
            running.close()

    def _running_sequence(self, sequence: ActiveSequence) -> RunningSequence:
        name = sequence.request.sequence_id
        running = self._running_sequences.get(name)
        if running is None:
            seed = seed_of(sequence.request.sampling)
            running = RunningSequence(sequence, self._backend, self.model.context_length, seed)
            self._running_sequences[name] = running
        return running

    def _flush(self) -> None:
        events = self._events.take()
        if not events:
            return
        try:
            self._sink(events)
        except Exception as error:  # the sink may raise anything; the events that it lost would be a gap in the answers
            log.exception("%d events could not be delivered", len(events))
            for name in {event.sequence_id for event in events}:
                if (sequence := self._scheduler.find(name)) is not None:
                    self._fail(sequence, InternalError(f"A part of the answer could not be delivered: {error}"))

    def _recover(self, error: Exception) -> bool:
        """Fail all sequences and empty the cache; return False if the engine has to stop."""
        self._counters.crashes += 1
        self._crashes_in_a_row += 1
        self._prompts_in_step = frozenset()
        try:
            for sequence in self._scheduler.sequences:
                self._fail(sequence, InternalError(f"The inference engine failed: {error}"))
            self._flush()
            self._scheduler.clear()
            self._backend.reset()
        except Exception:  # recovery runs after any fault, so it must not raise itself
            log.exception("The engine could not recover")
            return False
        return self._crashes_in_a_row < MAX_CRASHES_IN_A_ROW

    def _end_all(self, reason: str) -> None:
        """Abort all sequences, those in the inbox included, so that every client gets an answer."""
        try:
            self._take_messages(wait=False)
            for sequence in self._scheduler.sequences:
                self._drop(sequence, reason)
            self._flush()
        except Exception:  # the thread ends here, so nobody can handle it
            log.exception("The engine could not abort its sequences when it stopped")
