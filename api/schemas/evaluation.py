"""`/v1/rag/evaluations`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from api.schemas.base import NonBlank, WireRequest
from api.schemas.scope import Scope
from core.messages import EvaluatedQuestion, EvaluatedSetting, EvaluateRequest

MAX_QUESTIONS = 1000
MAX_SETTINGS = 8
MAX_EXPECTED = 32
MAX_QUESTION_CHARACTERS = 8192

Expected = Annotated[list[Annotated[NonBlank, Field(max_length=4096)]], Field(max_length=MAX_EXPECTED)]


class Question(WireRequest):
    """A question with what should be found: files by path, name or id, and texts that hits contain."""

    question: Annotated[NonBlank, Field(max_length=MAX_QUESTION_CHARACTERS)]
    files: Expected = []
    passages: Expected = []

    @model_validator(mode="after")
    def _expects_something(self) -> Question:
        if not self.files and not self.passages:
            raise ValueError("a question needs 'files' or 'passages' that should be found")
        return self


class Setting(Scope):
    """The options of a search. The name stands in the report."""

    name: Annotated[NonBlank, Field(max_length=64)] = "default"
    top_k: int | None = Field(None, ge=1, le=100)


class EvaluationRequest(WireRequest):
    """Body of `POST /v1/rag/evaluations`. Without `settings`, the defaults of a search are measured."""

    questions: list[Question] = Field(min_length=1, max_length=MAX_QUESTIONS)
    settings: list[Setting] = Field([Setting.model_validate({})], min_length=1, max_length=MAX_SETTINGS)

    @model_validator(mode="after")
    def _names_are_unique(self) -> EvaluationRequest:
        if len({setting.name for setting in self.settings}) < len(self.settings):
            raise ValueError("two of the settings have the same 'name'")
        return self

    def message(self, default_top_k: int) -> EvaluateRequest:
        """Return the request of the job."""
        return EvaluateRequest(
            questions=[EvaluatedQuestion(one.question, one.files, one.passages) for one in self.questions],
            settings=[
                EvaluatedSetting(name=one.name, top_k=one.top_k or default_top_k, **one.options())
                for one in self.settings
            ],
        )
