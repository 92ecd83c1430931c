"""Runs a scheduler over the fake model as the engine does, but without a thread, for property tests."""

from __future__ import annotations

from inference.engine.backend import BatchEntry, DecodeStatus
from inference.engine.cache_operations import apply_operations
from inference.engine.prompt_pieces import PieceLimits
from inference.engine.scheduler import Scheduler, StepPlan
from inference.engine.sequence import ActiveSequence, SequenceRequest
from inference.engine.stream_cache import StreamCache
from inference.engine.unified_cache import UnifiedCache
from tests.fakes.fake_backend import END, FakeBackend

Layout = type[UnifiedCache] | type[StreamCache]
#: Tokens that a stream holds beyond a sliding window: more than a draft has.
SPARE_WINDOW = 8
LAYOUTS: tuple[Layout, ...] = (UnifiedCache, StreamCache)


class Driver:
    def __init__(
        self,
        *,
        slots: int,
        sequences: int,
        cells: int,
        step_tokens: int,
        layout: Layout = UnifiedCache,
        window_tokens: int | None = None,
        tile: int = 1,
    ) -> None:
        self.backend = FakeBackend(
            sequences=sequences,
            cells=cells,
            batch_tokens=step_tokens,
            has_streams=layout is StreamCache,
            window_tokens=window_tokens,
            spare_window_tokens=SPARE_WINDOW,
        )
        self.cache = layout(sequences, cells, most_parked_tokens=200, window_tokens=window_tokens)
        if isinstance(self.cache, StreamCache):
            self.cache.spare_window_tokens = SPARE_WINDOW
        self.scheduler = Scheduler(slots, step_tokens, self.cache, equal_pieces=layout is StreamCache, tile=tile)
        self.ended: dict[str, list[int]] = {}
        self.order: list[str] = []
        self._arrivals = 0

    def submit(self, request: SequenceRequest) -> ActiveSequence:
        self._arrivals += 1
        sequence = ActiveSequence.of(request, 0.0, self._arrivals)
        self.scheduler.add(sequence)
        return sequence

    def step(
        self, prompt_tokens: int | PieceLimits | None = None, drafts: dict[str, list[int]] | None = None
    ) -> StepPlan:
        """Run a step. While sequences decode, `prompt_tokens` limits each piece of a prompt."""
        for sequence in self.scheduler.running:
            if sequence.is_decoding:
                sequence.draft = list((drafts or {}).get(sequence.request.sequence_id, []))
        limits = PieceLimits.of(prompt_tokens) if isinstance(prompt_tokens, int) else prompt_tokens
        plan = self.scheduler.plan((lambda _: limits) if limits else None)
        self.order += [sequence.request.sequence_id for sequence in plan.admitted]
        assert not apply_operations(self.cache.take_operations(), self.backend)
        if not plan.work:
            return plan
        batch = [BatchEntry(work.sequence.held_id, work.tokens, work.start, work.rows) for work in plan.work]
        assert self.backend.decode(batch) is DecodeStatus.DONE
        self.scheduler.commit(plan)
        for work, row in plan.sampled:
            self._sample(work.sequence, row, work.rows)
        return plan

    def run_to_end(self, most_steps: int = 10_000) -> None:
        for _ in range(most_steps):
            if self.scheduler.is_idle:
                return
            self.step()
        raise AssertionError(f"some sequences have not ended after {most_steps} steps")

    def _sample(self, sequence: ActiveSequence, row: int, rows: int) -> None:
        sequence.first_token_at = 1.0
        draft, accepted, done = sequence.draft, 0, False
        for at in range(rows):
            token = int(self.backend.logits(row + at).argmax())
            if token == END:
                done = True
                break
            sequence.tokens.append(token)
            done = sequence.generated >= sequence.request.max_tokens
            if done or at >= len(draft) or token != draft[at]:
                break
            accepted += 1
        if rows > 1:
            self.scheduler.settle(sequence, accepted)
        if done:
            self.scheduler.remove(sequence)
            self.ended[sequence.request.sequence_id] = sequence.tokens[sequence.prompt_length :]
