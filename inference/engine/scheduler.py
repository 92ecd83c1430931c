"""Decides what each engine step computes. Plain Python: values in, decisions out; no clock, no model in sight.

A step is planned (`plan`), run by the engine, then confirmed (`commit`) or left as if it had not been. Sequences that
decode come first with one token each (and their drafts), prompts fill up what is left of the step's token budget.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from core.messages import Priority
from inference.engine.prompt_cache import PromptCache, common_prefix
from inference.engine.sequence import ActiveSequence

CLASSES: tuple[Priority, ...] = ("interactive", "batch")
#: A prompt waits for another one to be computed when it saves at least so many tokens.
WORTH_WAITING_TOKENS = 32
#: Room that each running sequence must have before a preempted one comes back.
GROWTH_TOKENS = 32
#: So many interactive sequences may pass waiting batch work; then one of it gets a slot, and keeps it.
BATCH_PATIENCE = 32
#: Keys whose turn is remembered.
MAX_REMEMBERED_KEYS = 1024


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """Tokens `start … start + count - 1` of a sequence, its draft behind them if it has one."""

    sequence: ActiveSequence
    start: int
    count: int
    #: Logits are wanted for so many of the last tokens: none for a part of a prompt, one more than the draft otherwise.
    rows: int
    #: Whether these are tokens of a prompt (or of what a preempted sequence had), not a decoding sequence's next one.
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
    #: Sequences that have got a slot for the first time.
    admitted: list[ActiveSequence] = field(default_factory=list)
    #: Tokens of `work`, drafts included.
    token_count: int = 0

    def add(self, work: PlannedWork) -> None:
        self.work.append(work)
        self.token_count += work.token_count

    def drop(self, sequence: ActiveSequence) -> None:
        """Takes out a sequence that has lost its slot."""
        self.work = [work for work in self.work if work.sequence is not sequence]
        self.token_count = sum(work.token_count for work in self.work)


class Scheduler:
    """Waiting and running sequences, at most `slots` of the latter, over one prompt cache."""

    def __init__(self, slots: int, step_tokens: int, cache: PromptCache) -> None:
        self.slots = slots
        self.step_tokens = step_tokens
        self.cache = cache
        self.running: list[ActiveSequence] = []
        self._waiting: dict[Priority, dict[str, deque[ActiveSequence]]] = {name: {} for name in CLASSES}
        self._by_id: dict[str, ActiveSequence] = {}
        #: When each key was last served, to go round among keys.
        self._served: dict[str, int] = {}
        self._turn = 0
        #: Interactive sequences that have got a slot while batch work waited, since such work was last due.
        self._passed = 0
        self.preemptions = 0

    # Questions

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
        """Sequences whose deadline has passed (Unix time)."""
        return [one for one in self._by_id.values() if one.request.deadline is not None and one.request.deadline <= now]

    # Acts

    def add(self, sequence: ActiveSequence) -> None:
        """Queues a sequence. Its id must not be in use."""
        self._by_id[sequence.request.sequence_id] = sequence
        self._queue(sequence).append(sequence)

    def remove(self, sequence: ActiveSequence) -> None:
        """Ends a sequence, wherever it is. What it has in the KV cache stays as a cached prompt."""
        self._by_id.pop(sequence.request.sequence_id, None)
        if sequence.seq_id is not None:
            self._release(sequence)
            self.running.remove(sequence)
            return
        queue = self._queue(sequence)
        queue.remove(sequence)
        self._forget_if_empty(sequence, queue)

    def clear(self) -> None:
        """Drops everything, the cache's contents included: the engine starts afresh."""
        self.running.clear()
        self._by_id.clear()
        self._waiting = {name: {} for name in CLASSES}
        self._served.clear()
        self.cache.clear()

    def plan(self, prompt_tokens: int | None = None) -> StepPlan:
        """The next step. `prompt_tokens` bounds its prompt tokens while others decode (default: the step's budget)."""
        plan = StepPlan()
        self._admit(plan)
        budget = self._plan_decoding(plan)
        if plan.work and prompt_tokens is not None:
            budget = min(budget, prompt_tokens)
        self._plan_prompts(plan, budget)
        return plan

    def commit(self, plan: StepPlan) -> None:
        """Notes that the backend has computed a plan. Drafts lie behind `computed` until `settle` accepts them."""
        for work in plan.work:
            sequence = work.sequence
            self.cache.extend(sequence.held_id, work.tokens)
            sequence.computed += work.count

    def settle(self, sequence: ActiveSequence, accepted: int) -> None:
        """Keeps the first `accepted` draft tokens, which are in `tokens` now, and removes the others from the cache."""
        sequence.computed += accepted
        sequence.draft = []
        self.cache.truncate(sequence.held_id, sequence.computed)

    def forget_prefix(self, seq_id: int) -> None:
        """The backend could not take over what lay in the cache for a sequence that was just admitted."""
        self.cache.truncate(seq_id, 0)
        for sequence in self.running:
            if sequence.seq_id == seq_id:
                sequence.computed = sequence.cached_tokens = 0

    def preempt_last(self) -> ActiveSequence | None:
        """Takes the slot from the running sequence that matters least; it goes on later. None if there is only one."""
        if len(self.running) < 2:
            return None
        victim = max(self.running, key=_importance)
        self._preempt(victim)
        return victim

    # Admission

    def _admit(self, plan: StepPlan) -> None:
        while (sequence := self._next_waiting()) is not None:
            if not self._slot_for(sequence):
                return
            self._start(sequence, plan)

    def _slot_for(self, sequence: ActiveSequence) -> bool:
        """Whether there is a slot, after taking it from batch work if the sequence is interactive."""
        if len(self.running) < self.slots:
            return not self.running or self._has_room_for(sequence)
        yielding = [one for one in self.running if one.yields]
        if sequence.request.priority == "batch" or not yielding:
            return False
        self._preempt(max(yielding, key=_importance))
        return True

    def _has_room_for(self, sequence: ActiveSequence) -> bool:
        """Whether it could stay a while. One that was preempted needs more, or it would come and go all the time."""
        _, shared = self.cache.shared_prefix(sequence.tokens)
        missing = len(sequence.tokens) - shared
        if not sequence.preemptions:
            return self.cache.has_room(min(missing, self.step_tokens))
        return self.cache.has_room(missing + GROWTH_TOKENS * (len(self.running) + 1))

    def _start(self, sequence: ActiveSequence, plan: StepPlan) -> None:
        queue = self._queue(sequence)
        queue.popleft()
        self._forget_if_empty(sequence, queue)
        self._count_passing(sequence)
        self._turn += 1
        self._served[sequence.request.key] = self._turn
        self.running.append(sequence)
        sequence.seq_id, sequence.computed = self.cache.acquire(sequence.tokens)
        if not sequence.preemptions:
            sequence.cached_tokens = min(sequence.computed, sequence.prompt_length)
            plan.admitted.append(sequence)

    def _count_passing(self, starting: ActiveSequence) -> None:
        """Batch work must not wait for ever: one sequence of it at a time is due after its patience."""
        if starting.request.priority == "interactive":
            self._passed = self._passed + 1 if self._waiting["batch"] else 0
        elif self._batch_is_due:
            starting.is_due = True
            self._passed = 0

    @property
    def _batch_is_due(self) -> bool:
        return self._passed >= BATCH_PATIENCE and not any(one.is_due for one in self.running)

    def _next_waiting(self) -> ActiveSequence | None:
        """Interactive before batch, unless that is due; the key with the fewest running sequences, then the one served
        longest ago."""
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
        """Adds one token, and its draft, of each sequence that decodes; returns what is left of the budget."""
        budget = self.step_tokens
        for sequence in [one for one in self.running if one.is_decoding]:
            if sequence.seq_id is None:
                continue  # preempted by one before it in this loop
            if sequence.draft:
                self._shorten_draft(plan, sequence, budget)
            count = 1 + len(sequence.draft)
            if self._claim(plan, sequence, count):
                plan.add(PlannedWork(sequence, sequence.computed, 1, count, is_prompt=False))
                budget -= count
        return budget

    def _shorten_draft(self, plan: StepPlan, sequence: ActiveSequence, budget: int) -> None:
        """Leaves a token of the budget to each of the others, and preempts nobody for a guess."""
        others = sum(one.is_decoding for one in self.running) - len(plan.work) - 1
        sequence.draft = sequence.draft[: max(0, budget - others - 1)]
        if not self._room(plan, 1 + len(sequence.draft)):
            sequence.draft = []

    def _plan_prompts(self, plan: StepPlan, budget: int) -> None:
        """Fills the budget with prompts, those that came first first."""
        prompts = sorted((one for one in self.running if not one.is_decoding), key=_importance)
        for sequence in prompts:
            if budget <= 0:
                return
            if sequence.seq_id is None or self._better_wait(sequence, prompts):
                continue
            count = min(sequence.pending, budget)
            if not self._claim(plan, sequence, count):
                continue
            rows = int(count == sequence.pending)
            plan.add(PlannedWork(sequence, sequence.computed, count, rows, is_prompt=True))
            budget -= count

    def _better_wait(self, sequence: ActiveSequence, prompts: Iterable[ActiveSequence]) -> bool:
        """Whether a prompt before it is computing a prefix that it can share soon. Takes over what there is by now."""
        if sequence.preemptions or sequence.computed >= sequence.prompt_length:
            return False
        for earlier in prompts:
            if earlier is sequence:
                break
            shared = min(common_prefix(earlier.tokens, sequence.tokens), len(sequence.tokens) - 1)
            if earlier.computed < shared and shared - sequence.computed >= WORTH_WAITING_TOKENS:
                return True
        self._share_more(sequence)
        return False

    def _share_more(self, sequence: ActiveSequence) -> None:
        """Takes over a longer prefix, if one was computed since the sequence was admitted."""
        length = self.cache.best_prefix(sequence.tokens)
        before = sequence.computed
        if min(length, len(sequence.tokens) - 1) - before >= WORTH_WAITING_TOKENS:
            self.cache.discard(sequence.held_id)
            sequence.seq_id, sequence.computed = self.cache.acquire(sequence.tokens)
            sequence.cached_tokens += min(sequence.computed, sequence.prompt_length) - before

    def _claim(self, plan: StepPlan, sequence: ActiveSequence, count: int) -> bool:
        """Whether there is room for `count` more tokens of a sequence, after preempting those that matter less."""
        while not self._room(plan, count):
            victim = max(self.running, key=_importance)
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


def _importance(sequence: ActiveSequence) -> tuple[bool, int]:
    """Sorts the least important last: batch work after interactive, later arrivals after earlier ones."""
    return (sequence.yields, sequence.order)
