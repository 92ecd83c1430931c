"""Prompts that tell an embedding model whether a text is a query or a document. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Purpose = Literal["query", "document", "plain"]

#: Names that models give to their prompts; the first prompt that is not empty is used.
PROMPT_NAMES: dict[Purpose, tuple[str, ...]] = {
    "query": ("query", "retrieval.query", "search_query", "s2p_query"),
    "document": ("document", "passage", "retrieval.passage", "search_document", "corpus"),
}

_WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
#: Prompts by the model's name, for families whose model cards ask for prompts that their files lack.
FAMILY_PROMPTS: tuple[tuple[re.Pattern[str], dict[Purpose, str]], ...] = (
    (re.compile(r"e5-.*-instruct"), {"query": f"Instruct: {_WEB_SEARCH}\nQuery: "}),
    (re.compile(r"(^|-)e5-(small|base|large)"), {"query": "query: ", "document": "passage: "}),
    (re.compile(r"^qwen3-embedding"), {"query": f"Instruct: {_WEB_SEARCH}\nQuery:"}),
    (re.compile(r"^nomic-embed-text"), {"query": "search_query: ", "document": "search_document: "}),
    (re.compile(r"^bge-(small|base|large)-en"), {"query": "Represent this sentence for searching relevant passages: "}),
    (re.compile(r"^bge-(small|base|large)-zh"), {"query": "为这个句子生成表示以用于检索相关文章："}),
)


@dataclass(frozen=True)
class Prompt:
    """The text put before an input, and the task by which some models choose an adapter or a route."""

    text: str = ""
    task: str | None = None


def prompt_for(purpose: Purpose, model_prompts: Mapping[str, str | None], model_name: str) -> Prompt:
    """Return the prompt for a purpose: the model's own, or else that of its family.

    Args:
        purpose: "plain" has no prompt, not even the model's default one.
        model_prompts: `prompts` of the model's `config_sentence_transformers.json`.
        model_name: a hub id or the name of a folder.
    """
    if purpose == "plain":
        return Prompt()
    names = PROMPT_NAMES[purpose]
    for name in names:
        if text := model_prompts.get(name):
            # A dotted name (jina-embeddings-v3) is also the name of the model's adapter.
            return Prompt(text, name if "." in name else purpose)
    if any(model_prompts.values()):
        return Prompt("", purpose)  # the model has prompts, and deliberately none for this purpose
    return Prompt(_family_prompt(purpose, model_name), purpose)


def _family_prompt(purpose: Purpose, model_name: str) -> str:
    name = model_name.rpartition("/")[2].lower()
    return next((prompts.get(purpose, "") for pattern, prompts in FAMILY_PROMPTS if pattern.search(name)), "")
