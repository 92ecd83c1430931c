"""docs/openai-compatibility.md names every field that the official client can send or read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from openai.types import Completion, CompletionChoice, CompletionUsage, CreateEmbeddingResponse, Embedding, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, chat_completion
from openai.types.chat import chat_completion_chunk as chunk
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsBase as CompletionParams
from openai.types.create_embedding_response import Usage as EmbeddingUsage
from openai.types.embedding_create_params import EmbeddingCreateParams

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "openai-compatibility.md"

READ: dict[str, list[type[Any]]] = {
    "Chat completions": [
        ChatCompletion, chat_completion.Choice, chat_completion.ChoiceLogprobs, ChatCompletionMessage,
        ChatCompletionChunk, chunk.Choice, chunk.ChoiceDelta, CompletionUsage,
    ],
    "Legacy completions": [Completion, CompletionChoice],
    "Embeddings": [CreateEmbeddingResponse, Embedding, EmbeddingUsage],
    "Models": [Model],
}  # fmt: skip
SENT: dict[str, type[Any]] = {
    "Chat completions": ChatParams,
    "Legacy completions": CompletionParams,
    "Embeddings": EmbeddingCreateParams,
}


def documented(section: str) -> set[str]:
    """Return the names in the first column of all tables of a section."""
    body = re.split(r"^# ", DOCUMENT.read_text(), flags=re.MULTILINE)
    (text,) = (part for part in body if part.startswith(section))
    cells = re.findall(r"^\|([^|]*)\|", text, flags=re.MULTILINE)
    return {name for cell in cells for code in re.findall(r"`([^`]+)`", cell) for name in re.findall(r"\w+", code)}


@pytest.mark.parametrize("section", SENT)
def test_each_parameter_is_listed(section: str) -> None:
    assert not set(SENT[section].__annotations__) - documented(section)


@pytest.mark.parametrize("section", READ)
def test_each_field_of_an_answer_is_listed(section: str) -> None:
    fields = {name for model in READ[section] for name in model.model_fields}
    assert not fields - documented(section)
