"""Raw completions: the model continues prompts without a chat template. Serves `inference.complete`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core import events
from core.messages import CompleteRequest, TokenLogprob, Usage
from inference.engine.engine import Engine
from inference.engine.preparation import PreparedPrompt
from inference.engine.sequence import SequenceRequest
from inference.grammars.compiler import Grammar
from tasks.chat.answer_check import check_of
from tasks.chat.choices import Choice, SequenceRun
from tasks.chat.constraints import format_constraint, with_own_seed
from tasks.chat.resume_state import ResumeState
from tasks.chat.sequence_runs import SequenceRuns
from tasks.jobs.queues import Queue
from tasks.jobs.records import JobRecords
from tasks.jobs.runner import JobResult, JobRunner, RunningJob


@dataclass(frozen=True)
class Completions:
    """Answers raw completions. Of one job, at most `most_at_once` sequences are in the engine, so that others run."""

    engine: Engine
    records: JobRecords
    runner: JobRunner
    runs: SequenceRuns
    most_at_once: int

    def answer(self, job: RunningJob, begin: Callable[[SequenceRun], None]) -> None:
        """Continue the prompts of a job, and complete it. `begin` is called with its run before that is submitted.

        Raises:
            InvalidRequest: a prompt does not fit, or a parameter cannot be served; the error names the field.
            JobCancelled: the job was cancelled, or another worker has it.
        """
        request = job.request(CompleteRequest)
        prompts = self._prepare(request)
        # A schema that cannot be enforced is refused here, before `Accepted` is emitted.
        room = min(prompt.max_tokens for prompt in prompts)
        grammar = format_constraint(request, self.engine.grammars, room or None)
        resume = ResumeState.load(self.records, job.record)
        run = SequenceRun(job, resume.choices(len(prompts) * request.n))
        begin(run)
        if not resume.accepted:
            self._accept(run, request, prompts)
        sequences: list[SequenceRequest] = []
        for choice in run.choices:
            prompt = prompts[choice.result.index // request.n]
            choice.echo_characters = len(prompt.text) if request.echo else 0
            choice.check = check_of(grammar, choice.echo_characters)
            sequence = self._sequence(run, choice, request, prompt, grammar)
            if not (choice.finished or sequence.max_tokens or sequence.scored_token_ids):
                choice.result.finish_reason = "length"
                job.emit(events.ChoiceFinished(**job.event_fields(), index=choice.result.index, finish_reason="length"))
            elif not choice.finished:
                sequences.append(sequence)
        self.runs.run(run, sequences, self.most_at_once)
        self._complete(run, request, prompts)

    def _prepare(self, request: CompleteRequest) -> list[PreparedPrompt]:
        is_list = len(request.prompts) > 1
        return [
            self.engine.preparation.prepare_raw(
                prompt,
                suffix=request.suffix,
                add_special_tokens=request.add_special_tokens,
                max_tokens=request.max_tokens,
                sampling=request.sampling,
                param=f"prompt.{at}" if is_list else "prompt",
            )
            for at, prompt in enumerate(request.prompts)
        ]

    def _accept(self, run: SequenceRun, request: CompleteRequest, prompts: Sequence[PreparedPrompt]) -> None:
        """Emit `Accepted`, and with `echo` the prompt as the first text of each choice, in the same append."""
        job = run.job
        prompt_tokens = sum(len(prompt.token_ids) for prompt in prompts)
        accepted = events.Accepted(**job.event_fields(), model=self.engine.model.name, prompt_tokens=prompt_tokens)
        echoes: list[events.AnyEvent] = []
        for choice in run.choices if request.echo else ():
            prompt = prompts[choice.result.index // request.n]
            logprobs = [self._first_logprob(prompt)] if request.sampling.logprobs else []
            choice.result.text, choice.result.logprobs = prompt.text, logprobs
            if prompt.text or logprobs:
                fields = {**job.event_fields(), "index": choice.result.index}
                echoes.append(events.TextDelta(**fields, text=prompt.text, logprobs=logprobs))
        job.emit(accepted, *echoes, state="accepted")

    def _first_logprob(self, prompt: PreparedPrompt) -> TokenLogprob:
        """Return the entry of the prompt's first token, which has no probability because nothing precedes it."""
        text, raw = self.engine.preparation.token_entry(prompt.token_ids[0])
        return TokenLogprob(text, None, raw)

    def _sequence(
        self,
        run: SequenceRun,
        choice: Choice,
        request: CompleteRequest,
        prompt: PreparedPrompt,
        grammar: Grammar | None,
    ) -> SequenceRequest:
        record, index = run.job.record, choice.result.index
        scored_from = 1 if _scores(request) else len(prompt.token_ids)
        return SequenceRequest(
            sequence_id=run.sequence_id(index),
            prompt_token_ids=prompt.token_ids[:scored_from],
            scored_token_ids=prompt.token_ids[scored_from:],
            sampling=with_own_seed(request.sampling, index % request.n),
            max_tokens=prompt.max_tokens,
            priority="batch" if record.queue is Queue.BATCH else "interactive",
            key=record.key,
            deadline=record.deadline,
            resume_token_ids=list(choice.token_ids),
            resume_text_length=choice.resume_text_length,
            constraint=grammar,
            raw_logprobs=True,
        )

    def _complete(self, run: SequenceRun, request: CompleteRequest, prompts: Sequence[PreparedPrompt]) -> None:
        prompt_tokens = sum(len(prompt.token_ids) for prompt in prompts)
        scored = (prompt_tokens - len(prompts)) * request.n if _scores(request) else 0
        usage = Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=sum(len(choice.token_ids) for choice in run.choices) - scored,
            cached_tokens=sum(choice.usage.cached_tokens for choice in run.choices[:: request.n]),
        )
        choices = [choice.result for choice in run.choices]
        self.runner.complete(run.job, JobResult(self.engine.model.name, choices, usage=usage, timings=run.timings))


def _scores(request: CompleteRequest) -> bool:
    """Return whether the answer has the log probabilities of the prompt's tokens."""
    return request.echo and request.sampling.logprobs
