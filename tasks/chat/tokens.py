"""Tokens of texts and texts of tokens, on the thread of a task: the engine's steps do not wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core import events
from core.messages import DetokenizeRequest, TokenizeRequest
from inference.engine.engine import Engine
from tasks.jobs.queues import Tasks
from tasks.jobs.runner import JobResult, JobRunner, RunningJob


@dataclass(frozen=True)
class TokenService:
    """Serves `inference.tokenize` and `inference.detokenize` with the vocabulary of the engine's model."""

    engine: Engine
    runner: JobRunner

    def tokenize(self, job_id: str) -> None:
        """Return the token ids of a text, or of a chat's prompt, as the job's result."""
        self.runner.run(job_id, Tasks.TOKENIZE, self._tokenize)

    def detokenize(self, job_id: str) -> None:
        """Return the text of tokens as the job's result."""
        self.runner.run(job_id, Tasks.DETOKENIZE, self._detokenize)

    def _tokenize(self, job: RunningJob) -> None:
        request, preparation = job.request(TokenizeRequest), self.engine.preparation
        if request.text is None:
            tokens = preparation.chat_tokens(request.messages, request.tools, request.prompt_end)
        else:
            tokens = preparation.text_tokens(
                request.text, special=request.parse_special, add_bos=request.add_special_tokens, param="prompt"
            )
        texts = [preparation.token_entry(token)[0] for token in tokens] if request.token_texts else None
        self._complete(
            job,
            {
                "count": len(tokens),
                "max_model_len": self.engine.model.context_length,
                "tokens": tokens,
                "token_strs": texts,
            },
        )

    def _detokenize(self, job: RunningJob) -> None:
        self._complete(
            job, {"prompt": self.engine.preparation.text_of(job.request(DetokenizeRequest).tokens, "tokens")}
        )

    def _complete(self, job: RunningJob, result: dict[str, Any]) -> None:
        model = self.engine.model.name
        self.runner.complete(job, JobResult(model, result=result), events.Accepted(**job.event_fields(), model=model))
