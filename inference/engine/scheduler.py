"""Decides what each engine step computes. Plain Python: values in, decisions out; it knows no clock and no model.

A step is planned (`plan`) and run by the engine; if it succeeds it is recorded (`commit`), otherwise nothing changes.
Decoding sequences come first, with one token each and their drafts; prompts fill the rest of the step's token budget.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from core.messages import Priority
from inference.engine.parked_prompts import common_prefix
from inference.engine.prompt_cache import PromptCache
from inference.engine.prompt_pieces import PieceLimits, PromptPieces
from inference.engine.sequence import ActiveSequence, importance

CLASSES: tuple[Priority, ...] = ("interactive", "batch")
#: A prompt waits for another one to be computed if that saves at least this many tokens.
WORTH_WAITING_TOKENS = 32
#: Cells that must be free for each running sequence before a preempted one is admitted again.
GROWTH_TOKENS = 32
#: After this many interactive sequences have overtaken waiting batch work, one batch sequence gets a slot and keeps it.
MAX_OVERTAKES = 32
#: For how many keys the scheduler remembers when they were last served.
MAX_REMEMBERED_KEYS = 1024


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """Tokens `start … start + count - 1` of a sequence, followed by its draft if it has one."""

    sequence: ActiveSequence
    start: int
    count: int
    #: How many of the last tokens need logits: none for a part of a prompt, otherwise one more than the draft.
    rows: int
    #: Whether these are tokens of a prompt (or of a preempted sequence), not the next one of a decoding sequence.
    is_prompt: bool

    @property
    def token_count(self) -> int:
        return self.count + max(self.rows - 1, 0)

    @property
    def tokens(self) -> list[int]:
        tokens = self.sequence.tokens[self.start : self.start + self.count]
        return tokens + self.sequence.draft if self.rows > 1 else tokens


@dataclass(slots=True)
class StepPlan:
    """One step of the engine."""

    work: list[PlannedWork] = field(default_factory=list)
    #: Sequences that got a slot for the first time.
    admitted: list[ActiveSequence] = field(default_factory=list)
    #: Tokens of `work`, drafts included.
    token_count: int = 0

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """The pieces of prompts in it: for each the number of tokens that precede it, and its own."""
        return [(work.start, work.count) for work in self.work if work.is_prompt]

    @property
    def decoding(self) -> int:
        """The number of sequences that decode in it."""
        return sum(not work.is_prompt for work in self.work)

    @property
    def sampled(self) -> list[tuple[PlannedWork, int]]:
        """The work for which tokens are sampled, each with its first row in the batch."""
        ends = accumulate(work.token_count for work in self.work)
        return [(work, end - work.rows) for work, end in zip(self.work, ends, strict=True) if work.rows]

    def add(self, work: PlannedWork) -> None:
        self.work.append(work)
        self.token_count += work.token_count

    def drop(self, sequence: ActiveSequence) -> None:
        """Remove the work of a sequence that has lost its slot."""
        self.work = [work for work in self.work if work.sequence is not sequence]
        self.token_count = sum(work.token_count for work in self.work)


class Scheduler:
    """The waiting and the running sequences, at most `slots` of the latter, over one prompt cache."""

    def __init__(
        self, slots: int, step_tokens: int, cache: PromptCache, *, equal_pieces: bool = False, tile: int = 1
    ) -> None:
        """
        Args:
            slots: how many sequences run at most.
            step_tokens: the most tokens of a step.
            equal_pieces: whether the pieces of prompts in a step must have the same length while others decode. With a
                stream for each sequence, llama.cpp computes a step in as many passes as there are lengths.
            tile: the query rows of a tile of attention (`Backend.attention_tile`).
        """
        self.slots = slots
        self._equal_pieces = equal_pieces
        self._tile = tile
        self.step_tokens = step_tokens
        self.cache = cache
        self.running: list[ActiveSequence] = []
        self._waiting: dict[Priority, dict[str, deque[ActiveSequence]]] = {name: {} for name in CLASSES}
        self._by_id: dict[str, ActiveSequence] = {}
        #: The turn in which each key was last served, so that keys take turns.
        self._served: dict[str, int] = {}
        self._turn = 0
        #: How many interactive sequences got a slot while batch work waited, since batch work was last due.
        self._overtakes = 0
        self.preemptions = 0

    # Queries

    @property
    def waiting(self) -> int:
        return len(self._by_id) - len(self.running)

    @property
    def is_idle(self) -> bool:
        return not self._by_id

    @property
    def sequences(self) -> list[ActiveSequence]:
        """All sequences, running and waiting."""
        return list(self._by_id.values())

    def find(self, sequence_id: str) -> ActiveSequence | None:
        return self._by_id.get(sequence_id)

    def expired(self, now: float) -> list[ActiveSequence]:
        """Return the sequences whose deadline has passed (Unix time)."""
        return [one for one in self._by_id.values() if one.request.deadline is not None and one.request.deadline <= now]

    # Commands

    def add(self, sequence: ActiveSequence) -> None:
        """Queue a sequence. Its id must not be in use."""
        self._by_id[sequence.request.sequence_id] = sequence
        self._queue(sequence).append(sequence)

    def remove(self, sequence: ActiveSequence) -> None:
        """Remove a running or waiting sequence. Its tokens in the KV cache are parked as a cached prompt."""
        self._by_id.pop(sequence.request.sequence_id, None)
        if sequence.seq_id is not None:
            self._release(sequence)
            self.running.remove(sequence)
            return
        queue = self._queue(sequence)
        queue.remove(sequence)
        self._forget_if_empty(sequence, queue)

    def clear(self) -> None:
        """Drop all sequences and the cache's contents, because the engine starts afresh."""
        self.running.clear()
        self._by_id.clear()
        self._waiting = {name: {} for name in CLASSES}
        self._served.clear()
        self.cache.clear()

    def plan(self, limits: Callable[[int], PieceLimits] | None = None) -> StepPlan:
        """Plan the next step. While sequences decode, `limits` gives those of a piece that follows so many tokens."""
        plan = StepPlan()
        self._admit(plan)
        self._confine_batch()
        self._compact()
        budget = self._plan_decoding(plan)
        self._plan_prompts(plan, budget, limits if plan.work else None)
        # llama.cpp computes sequences together that follow one another in the batch and by their ids.
        plan.work.sort(key=lambda work: work.sequence.held_id)
        return plan

    def commit(self, plan: StepPlan) -> None:
        """Record that the backend has computed a plan. Drafts stay beyond `computed` until `settle` accepts them."""
        for work in plan.work:
            sequence = work.sequence
            self.cache.extend(sequence.held_id, work.tokens)
            sequence.computed += work.count
            if sequence.computed == sequence.prompt_length - 1 and self._parks_prompt(sequence):
                self.cache.park_prompt(sequence.held_id)

    def settle(self, sequence: ActiveSequence, accepted: int) -> None:
        """Keep the first `accepted` draft tokens, which are in `tokens` now, and remove the others from the cache."""
        sequence.computed += accepted
        sequence.draft = []
        self.cache.truncate(sequence.held_id, sequence.computed)

    def forget_prefix(self, seq_id: int) -> None:
        """Mark a sequence as not computed, because the backend could not reuse its prefix or has lost its tokens."""
        self.cache.truncate(seq_id, 0)
        for sequence in self.running:
            if sequence.seq_id == seq_id:
                sequence.computed = sequence.cached_tokens = 0
                sequence.may_reuse = False

    def preempt_last(self) -> ActiveSequence | None:
        """Preempt the least important running sequence and return it, or return None if only one runs."""
        if len(self.running) < 2:
            return None
        victim = max(self.running, key=importance)
        self._preempt(victim)
        return victim

    # Admission

    def _admit(self, plan: StepPlan) -> None:
        while (sequence := self._next_waiting()) is not None:
            if not self._slot_for(sequence):
                return
            self._start(sequence, plan)

    def _slot_for(self, sequence: ActiveSequence) -> bool:
        """Return whether there is a slot; for an interactive sequence, preempt batch work to free one."""
        batch = self._running_of("batch")
        if sequence.request.priority == "batch" and batch and self._running_of("interactive"):
            return False
        if len(self.running) < self.slots:
            return not self.running or self._has_room_for(sequence)
        # Where there are several slots, batch work keeps one.
        if sequence.request.priority == "batch" or len(batch) <= int(self.slots > 1):
            return False
        victim = max(batch, key=importance)
        if victim.yields:
            self._preempt(victim)
        return victim.yields

    def _confine_batch(self) -> None:
        """Preempt all batch sequences but one while interactive ones run, as each row of a step slows down the others.

        What they have computed stays in the cache as long as there is room.
        """
        if self._running_of("interactive"):
            for surplus in sorted(self._running_of("batch"), key=importance)[:0:-1]:
                self._preempt(surplus)

    def _running_of(self, priority: Priority) -> list[ActiveSequence]:
        return [one for one in self.running if one.request.priority == priority]

    def _has_room_for(self, sequence: ActiveSequence) -> bool:
        """Return whether the cache has room for a sequence.

        A preempted one needs room for all sequences to grow, or it would soon be preempted again.
        """
        missing = self.cache.missing_cells(sequence.tokens)
        if not sequence.preemptions:
            return self.cache.has_room(min(missing, self.step_tokens))
        return self.cache.has_room(missing + GROWTH_TOKENS * (len(self.running) + 1))

    def _start(self, sequence: ActiveSequence, plan: StepPlan) -> None:
        queue = self._queue(sequence)
        queue.popleft()
        self._forget_if_empty(sequence, queue)
        self._count_overtaking(sequence)
        self._turn += 1
        self._served[sequence.request.key] = self._turn
        self.running.append(sequence)
        sequence.seq_id, sequence.computed = self.cache.acquire(sequence.tokens)
        if not sequence.preemptions:
            sequence.cached_tokens = min(sequence.computed, sequence.prompt_length)
            plan.admitted.append(sequence)

    def _count_overtaking(self, starting: ActiveSequence) -> None:
        """Count how many interactive sequences overtake batch work, so that it does not wait for ever."""
        if starting.request.priority == "interactive":
            waits = self._waiting["batch"] and not self._running_of("batch")
            self._overtakes = self._overtakes + 1 if waits else 0
        elif self._batch_is_due:
            starting.is_due = True
            self._overtakes = 0

    @property
    def _batch_is_due(self) -> bool:
        return self._overtakes >= MAX_OVERTAKES and not self._running_of("batch")

    def _next_waiting(self) -> ActiveSequence | None:
        """Return the sequence to admit next, or None.

        Interactive work comes before batch work unless that is due. Among keys, the one with the fewest running
        sequences comes first, then the one served longest ago.
        """
        running = Counter(sequence.request.key for sequence in self.running)
        for name in reversed(CLASSES) if self._batch_is_due else CLASSES:
            queues = self._waiting[name]
            if queues:
                key = min(queues, key=lambda key: (running[key], self._served.get(key, 0), queues[key][0].order))
                return queues[key][0]
        return None

    def _queue(self, sequence: ActiveSequence) -> deque[ActiveSequence]:
        return self._waiting[sequence.request.priority].setdefault(sequence.request.key, deque())

    def _forget_if_empty(self, sequence: ActiveSequence, queue: deque[ActiveSequence]) -> None:
        if not queue:
            self._waiting[sequence.request.priority].pop(sequence.request.key, None)
            if len(self._served) > MAX_REMEMBERED_KEYS:
                self._served.clear()

    # Planning

    def _plan_decoding(self, plan: StepPlan) -> int:
        """Plan one token and the draft of each decoding sequence; return what is left of the budget."""
        budget = self.step_tokens
        for sequence in [one for one in self.running if one.is_decoding]:
            if sequence.seq_id is None:
                continue  # preempted earlier in this loop
            if sequence.draft:
                self._shorten_draft(plan, sequence, budget)
            count = 1 + len(sequence.draft)
            if self._claim(plan, sequence, count):
                plan.add(PlannedWork(sequence, sequence.computed, 1, count, is_prompt=False))
                budget -= count
        return budget

    def _shorten_draft(self, plan: StepPlan, sequence: ActiveSequence, budget: int) -> None:
        """Shorten a draft so that each other decoding sequence has a token of the budget, and none is preempted."""
        others = sum(one.is_decoding for one in self.running) - len(plan.work) - 1
        sequence.draft = sequence.draft[: max(0, budget - others - 1)]
        if not self._room(plan, 1 + len(sequence.draft)):
            sequence.draft = []

    def _plan_prompts(self, plan: StepPlan, budget: int, limits: Callable[[int], PieceLimits] | None) -> None:
        """Fill the budget with prompts, in order of importance."""
        beside = max((work.token_count for work in plan.work), default=0)
        pieces = PromptPieces(self._tile, budget, beside=beside, equal=self._equal_pieces and bool(plan.work))
        prompts = sorted((one for one in self.running if one.pending and not one.is_decoding), key=importance)
        for sequence in prompts:
            if pieces.room <= 0 or sequence.seq_id is None or self._better_wait(sequence, prompts):
                continue
            most = limits(sequence.computed) if limits else PieceLimits.of(self.step_tokens)
            ends = sequence.pending > 1 and sequence.computed + sequence.pending == sequence.prompt_length
            # A prompt is parked without its last token, so that the same prompt can continue it.
            count = pieces.choose(sequence.pending - (ends and self._parks_prompt(sequence)), most)
            if count and self._claim(plan, sequence, count):
                rows = int(count == sequence.pending)
                plan.add(PlannedWork(sequence, sequence.computed, count, rows, is_prompt=True))

    def _parks_prompt(self, sequence: ActiveSequence) -> bool:
        return not sequence.preemptions and self.cache.parks_prompt(sequence.prompt_length)

    def _better_wait(self, sequence: ActiveSequence, prompts: Iterable[ActiveSequence]) -> bool:
        """Return whether an earlier prompt is computing a prefix that this one can share soon.

        Otherwise, share what has been computed by now.
        """
        if sequence.preemptions or not sequence.may_reuse or sequence.computed >= sequence.prompt_length:
            return False
        for earlier in prompts:
            if earlier is sequence:
                break
            shared = min(common_prefix(earlier.tokens, sequence.tokens), len(sequence.tokens) - 1)
            is_worth_it = earlier.computed < shared and shared - sequence.computed >= WORTH_WAITING_TOKENS
            if is_worth_it and self.cache.will_share(len(earlier.tokens)):
                return True
        self._share_more(sequence)
        return False

    def _share_more(self, sequence: ActiveSequence) -> None:
        """Share a longer prefix, if one has been computed since the sequence was admitted."""
        before = sequence.computed
        found = self.cache.reuse_more(sequence.held_id, sequence.tokens, WORTH_WAITING_TOKENS)
        sequence.seq_id, sequence.computed = found
        sequence.cached_tokens += min(sequence.computed, sequence.prompt_length) - before

    def _compact(self) -> None:
        moved = self.cache.compact()
        for sequence in self.running:
            sequence.seq_id = moved.get(sequence.held_id, sequence.held_id)

    def _claim(self, plan: StepPlan, sequence: ActiveSequence, count: int) -> bool:
        """Make room for `count` more tokens of a sequence by preempting less important ones.

        Return False if the sequence itself was preempted.
        """
        while not self._room(plan, count):
            victim = max(self.running, key=importance)
            self._preempt(victim)
            plan.drop(victim)
            if victim is sequence:
                return False
        return True

    def _room(self, plan: StepPlan, count: int) -> bool:
        return self.cache.has_room(plan.token_count + count)

    def _preempt(self, victim: ActiveSequence) -> None:
        self._release(victim)
        self.running.remove(victim)
        victim.preemptions += 1
        self.preemptions += 1
        self._queue(victim).appendleft(victim)

    def _release(self, sequence: ActiveSequence) -> None:
        self.cache.release(sequence.held_id)
        sequence.seq_id, sequence.computed, sequence.draft = None, 0, []
