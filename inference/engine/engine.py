"""The engine: one thread that owns the model, and what other threads may ask of it.

Requests and aborts are messages to that thread. It runs steps: take messages, plan, decode, sample, report. The sink is
called once per step, on that thread, with the events of all sequences.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from core.errors import InternalError, InvalidRequest, LlmApiError, Unavailable
from core.messages import ChatMessage, SamplingParams
from core.settings import Settings
from core.threads import run_on_temporary_thread
from inference.engine.backend import Backend, BatchEntry, DecodeStatus, warm_up
from inference.engine.cache_operations import apply_operations
from inference.engine.inbox import Abort, Inbox, Submit, Wake
from inference.engine.model_files import resolve_model
from inference.engine.preparation import Preparation, PreparedPrompt
from inference.engine.prompt_cache import PromptCache
from inference.engine.running_sequence import Generation, Produced
from inference.engine.sampling import check_sampling, seed_of
from inference.engine.scheduler import PlannedWork, Scheduler, StepPlan
from inference.engine.sequence import ActiveSequence, SequenceRequest, Sink
from inference.engine.stats import Counters, EngineStats
from inference.engine.step_events import Report
from inference.engine.token_budget import TokenBudget
from inference.grammars.compiler import GrammarCompiler
from inference.text.chat_template import ChatTemplate

#: After so many crashes without a good step between them, the engine gives up.
MAX_CRASHES_IN_A_ROW = 3
#: A shorter piece of a prompt is computed to its end when its sequence is aborted: the others' work would be lost too.
WORTH_INTERRUPTING_TOKENS = 128
#: How often deadlines are looked at while nothing runs.
IDLE_SECONDS = 0.5

log = logging.getLogger(__name__)


class Engine:
    """Serves sequences with one model. All public methods may be called from any thread."""

    def __init__(self, backend: Backend, *, slots: int, default_max_tokens: int, sink: Sink) -> None:
        self.model = backend.model
        self._backend = backend
        self._sink = sink
        cache = PromptCache(
            backend.sequences,
            backend.cells,
            can_share=backend.can_trim,
            most_parked_tokens=backend.parked_tokens,
        )
        self._scheduler = Scheduler(slots, backend.batch_tokens, cache)
        self._token_budget = TokenBudget(backend.batch_tokens)
        self._generations: dict[str, Generation] = {}
        self._inbox = Inbox()
        self._report = Report()
        self._counters = Counters()
        #: Compiles what `SequenceRequest.constraint` takes. To be called on the caller's thread.
        template = _chat_template(backend)
        self.grammars = GrammarCompiler(backend.grammar_tokenizer, template.call_format)
        self._order = 0
        self._crashes_in_a_row = 0
        #: Sequences with a long piece of their prompt in the running step: aborting one of them interrupts it.
        self._prompts_in_step: frozenset[str] = frozenset()
        self._came_round_at = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._preparation = Preparation(
            backend,
            template,
            context_length=self.model.context_length,
            vocab_size=self.model.vocab_size,
            default_max_tokens=default_max_tokens,
        )

    # Any thread

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it serves requests."""
        return self._thread.is_alive() and not self._closing.is_set()

    @property
    def silent_seconds(self) -> float:
        """How long ago its thread last came round: more than a step takes means that the step hangs."""
        return time.monotonic() - self._came_round_at

    def prepare(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        max_tokens: int | None = None,
        sampling: SamplingParams | None = None,
    ) -> PreparedPrompt:
        """The prompt of a conversation; with `sampling`, its parameters are checked too.

        Raises:
            ContextLengthExceeded: if it leaves no room for an answer.
            InvalidRequest: if it is empty, broken or out of bounds.
        """
        return self._preparation.prepare(messages, tools=tools, max_tokens=max_tokens, sampling=sampling)

    def count_tokens(self, text: str) -> int:
        """Tokens of a plain text."""
        return self._preparation.count_tokens(text)

    def submit(self, request: SequenceRequest) -> None:
        """Queues a sequence; everything else comes through the sink.

        Raises:
            ContextLengthExceeded: if its prompt does not fit.
            InvalidRequest: if a parameter is out of bounds.
            Unavailable: if the engine has stopped.
        """
        self._check(request)
        if not self.alive:
            raise Unavailable("The inference engine has stopped.")
        self._inbox.post(Submit(request, time.time()))
        if not self.alive:  # it may have ended in between, without seeing this
            raise Unavailable("The inference engine has stopped.")

    def abort(self, sequence_id: str, reason: str = "cancelled") -> None:
        """Stops a sequence within one step; does nothing if it has ended already."""
        self._inbox.post(Abort(sequence_id, reason))
        if sequence_id in self._prompts_in_step:
            self._backend.interrupt()

    def close(self, timeout_seconds: float = 30.0) -> None:
        """Stops the engine and frees the model; sequences that have not ended are aborted."""
        self._closing.set()
        self._inbox.post(Wake())
        self._backend.interrupt()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
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

    def _check(self, request: SequenceRequest) -> None:
        check_sampling(request.sampling, self.model.vocab_size)
        if not request.prompt_token_ids:
            raise InvalidRequest("The prompt is empty.", param="messages")
        self._preparation.room_for_answer(len(request.prompt_token_ids), request.max_tokens)
        for token in (*request.prompt_token_ids, *request.resume_token_ids):
            if not 0 <= token < self.model.vocab_size:
                raise InvalidRequest(f"Token {token} is not in the model's vocabulary.", param="messages")

    # The engine's thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._turn()
                self._came_round_at = time.monotonic()
                self._crashes_in_a_row = 0
            except Exception as error:  # the thread must outlive any fault: it fails the sequences and starts afresh
                log.exception("The engine crashed")
                if not self._recover(error):
                    self._closing.set()
        self._end_all("the engine was closed")

    def _turn(self) -> None:
        """One round: messages, deadlines, one step, and the report of all that."""
        self._take_messages(wait=self._scheduler.is_idle)
        for sequence in self._scheduler.expired(time.time()):
            self._drop(sequence, "deadline")
        if not self._scheduler.is_idle:
            self._step()
        self._flush()
        # Here, so that what a finished sequence leaves is parked after its client has been told.
        self._apply_cache_operations()

    def _take_messages(self, *, wait: bool) -> None:
        """Takes all messages; with `wait`, waits a moment for the first one."""
        self._backend.clear_interrupt()
        for message in self._inbox.take(IDLE_SECONDS if wait else None):
            if isinstance(message, Submit):
                self._accept(message)
            elif isinstance(message, Abort) and (sequence := self._scheduler.find(message.sequence_id)) is not None:
                self._drop(sequence, message.reason)

    def _accept(self, message: Submit) -> None:
        request = message.request
        if self._scheduler.find(request.sequence_id) is not None:
            log.error("Sequence %s is in the engine already: the second one is left out", request.sequence_id)
            return
        self._order += 1
        self._scheduler.add(ActiveSequence.of(request, message.arrived_at, self._order))

    def _step(self) -> None:
        decoding = False
        for sequence in self._scheduler.running:
            if sequence.is_decoding:
                decoding = True
                sequence.draft = self._generation(sequence).draft()
        plan = self._scheduler.plan(self._token_budget.prompt_tokens if decoding else None)
        self._admit(plan)
        if not plan.work:
            return
        began = time.perf_counter()
        if self._decode(plan):
            self._scheduler.commit(plan)
            self._collect(plan)
            self._measure(plan, time.perf_counter() - began)

    def _admit(self, plan: StepPlan) -> None:
        for sequence in plan.admitted:
            sequence.started_at = time.time()
            try:
                generation = self._generation(sequence)
            except LlmApiError as error:  # its own grammar does not allow what it resumes
                plan.drop(sequence)
                self._fail(sequence, error)
                continue
            self._report.started(sequence)
            if (reason := generation.finished_by_resume) is not None:
                plan.drop(sequence)
                self._conclude(sequence, Produced(finish_reason=reason))

    def _decode(self, plan: StepPlan) -> bool:
        """Runs the model over the plan; False if it has to be planned anew."""
        if not self._apply_cache_operations():
            return False
        batch = [BatchEntry(work.sequence.held_id, work.tokens, work.start, work.rows) for work in plan.work]
        self._prompts_in_step = frozenset(
            work.sequence.request.sequence_id for work in plan.work if work.count >= WORTH_INTERRUPTING_TOKENS
        )
        status = self._backend.decode(batch)
        self._prompts_in_step = frozenset()
        if status is DecodeStatus.DONE:
            return True
        for work in plan.work:
            self._backend.trim(work.sequence.held_id, work.start)
        if status is DecodeStatus.FULL:
            self._relieve()
        return False

    def _relieve(self) -> None:
        """The runtime has no room though the books say so: makes some, or gives up a sequence that is alone."""
        if self._scheduler.preempt_last() is None:
            self._fail(self._scheduler.running[0], InternalError("The KV cache has no room for this sequence."))

    def _apply_cache_operations(self) -> bool:
        """Does what the books say; False if the plan that was made on them does not hold."""
        lost = apply_operations(self._scheduler.cache.take_operations(), self._backend)
        for seq_id in lost:
            log.warning("A cached prompt could not be taken over: it is computed again")
            self._scheduler.forget_prefix(seq_id)
        return not lost

    def _collect(self, plan: StepPlan) -> None:
        """Samples for all sequences whose logits are there."""
        row = 0
        for work in plan.work:
            row += work.token_count
            if work.rows:
                try:
                    self._sample(work, row - work.rows)
                except LlmApiError as error:  # of its own grammar: the others have no part in it
                    self._fail(work.sequence, error)

    def _sample(self, work: PlannedWork, row: int) -> None:
        sequence = work.sequence
        produced = self._generation(sequence).advance(row)
        if sequence.first_token_at is None:
            sequence.first_token_at = time.time()
        if work.rows > 1:
            self._scheduler.settle(sequence, produced.accepted)
        self._counters.generated_tokens += len(produced.token_ids)
        self._conclude(sequence, produced)

    def _conclude(self, sequence: ActiveSequence, produced: Produced) -> None:
        """Reports what a step has given a sequence, and ends it if that was the last."""
        if produced.finish_reason is None:
            self._report.produced(sequence, produced)
            return
        produced.text += self._generation(sequence).finish()
        self._report.produced(sequence, produced)
        self._report.finished(sequence, produced.finish_reason)
        self._counters.cached_tokens += sequence.cached_tokens
        self._counters.finished += 1
        self._remove(sequence)

    def _measure(self, plan: StepPlan, seconds: float) -> None:
        prompt_tokens = sum(work.count for work in plan.work if work.is_prompt)
        decoding = sum(not work.is_prompt for work in plan.work)
        self._token_budget.observe(prompt_tokens, decoding, seconds)
        self._counters.observe_step(prompt_tokens, len(plan.work), seconds)

    # Ends of sequences

    def _drop(self, sequence: ActiveSequence, reason: str) -> None:
        self._remove(sequence)
        self._report.aborted(sequence.request.sequence_id, reason)

    def _fail(self, sequence: ActiveSequence, error: LlmApiError) -> None:
        self._remove(sequence)
        self._report.failed(sequence.request.sequence_id, error)

    def _remove(self, sequence: ActiveSequence) -> None:
        self._scheduler.remove(sequence)
        generation = self._generations.pop(sequence.request.sequence_id, None)
        if generation is not None:
            generation.close()

    def _generation(self, sequence: ActiveSequence) -> Generation:
        name = sequence.request.sequence_id
        generation = self._generations.get(name)
        if generation is None:
            seed = seed_of(sequence.request.sampling)
            generation = Generation(sequence, self._backend, self.model.context_length, seed)
            self._generations[name] = generation
        return generation

    def _flush(self) -> None:
        events = self._report.take()
        if not events:
            return
        try:
            self._sink(events)
        except Exception as error:  # the sink is not ours; what it has lost would be a hole in the answers
            log.exception("%d events could not be delivered", len(events))
            for name in {event.sequence_id for event in events}:
                if (sequence := self._scheduler.find(name)) is not None:
                    self._fail(sequence, InternalError(f"A part of the answer could not be delivered: {error}"))

    def _recover(self, error: Exception) -> bool:
        """Fails all sequences and empties the cache. False if it is no use going on."""
        self._counters.crashes += 1
        self._crashes_in_a_row += 1
        self._prompts_in_step = frozenset()
        try:
            for sequence in self._scheduler.sequences:
                self._fail(sequence, InternalError(f"The inference engine failed: {error}"))
            self._flush()
            self._scheduler.clear()
            self._backend.reset()
        except Exception:  # what recovers from anything must not be ended by anything
            log.exception("The engine could not recover")
            return False
        return self._crashes_in_a_row < MAX_CRASHES_IN_A_ROW

    def _end_all(self, reason: str) -> None:
        """Answers everyone who still waits, those in the inbox included."""
        try:
            self._take_messages(wait=False)
            for sequence in self._scheduler.sequences:
                self._drop(sequence, reason)
            self._flush()
        except Exception:  # the last act of the thread: there is nobody left to tell
            log.exception("The engine could not tell its clients that it ends")


def _chat_template(backend: Backend) -> ChatTemplate:
    bos, eos = (backend.token_text(token) if token is not None else "" for token in (backend.bos, backend.eos))
    return ChatTemplate(backend.chat_template, bos=bos, eos=eos, control_tokens=backend.control_tokens)


def open_engine(settings: Settings, sink: Sink) -> Engine:
    """Finds and loads the model, warms it up and starts the engine.

    Raises:
        ConfigurationError: if there is no model, or it cannot be loaded.
    """
    # Imported here: what uses the engine with another backend needs no llama.cpp.
    from inference.engine.llama_backend import LlamaBackend, faster_starter

    file = resolve_model(settings)
    if file.is_starter:
        file = faster_starter(file, settings.state_dir / "models")
    backend = LlamaBackend(file, settings)
    run_on_temporary_thread(lambda: warm_up(backend))
    engine = Engine(backend, slots=settings.slots, default_max_tokens=settings.max_tokens, sink=sink)
    engine.start()
    return engine
