"""Rewrites a follow-up question so that it can be searched for: asks a model, and checks its answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.messages import ChatMessage
from inference.text.overlap import terms_of

INSTRUCTION = (
    "Below are a conversation and the question that follows it. Write the question so that it can be understood "
    "without the conversation: put names in the place of words like 'it' or 'there'. Answer with the question alone."
)
EXPANSION = (
    "Write the search queries that find the answer to the question below in a collection of documents: one for each "
    "thing that it asks for, at most {count}, each on a line of its own, in other words where there are any. "
    "Put names in the place of words like 'it' or 'there'. Write nothing else."
)
MOST_QUERIES = 3
#: How much of the conversation the model gets: the last messages, and the beginning of each.
MESSAGES_SHOWN = 4
CHARACTERS_SHOWN = 400
LONGEST_REWRITE_CHARACTERS = 300
#: A rewrite of which the conversation contains a smaller share of terms is about something else.
LEAST_KNOWN_TERMS = 0.6
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")


def is_follow_up(messages: Sequence[ChatMessage]) -> bool:
    """Return whether there are messages before the last question."""
    history, _ = _split(messages)
    return bool(history)


def rewrite_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the messages that ask a model to rewrite the last question of a conversation."""
    history, question = _excerpt(messages)
    shown = "\n".join(history)
    content = f"{INSTRUCTION}\n\n<conversation>\n{shown}\n</conversation>\n\nQuestion: {question}"
    return [ChatMessage("user", content)]


def expansion_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the messages that ask a model for queries with which the last question can be searched for."""
    history, question = _excerpt(messages)
    shown = "\n".join(["", "<conversation>", *history, "</conversation>", ""]) if history else ""
    return [ChatMessage("user", f"{EXPANSION.format(count=MOST_QUERIES)}\n{shown}\nQuestion: {question}")]


def usable_queries(answer: str, messages: Sequence[ChatMessage]) -> str | None:
    """Return the queries in a model's answer, one a line, or None if none has to do with the conversation.

    Other words for what is asked are wanted, so that one word in common is enough.
    """
    history, question = _excerpt(messages)
    known = terms_of(" ".join([question, *history]))
    lines = [_LIST_MARK.sub("", line).strip().strip("\"'*`") for line in answer.splitlines()]
    usable = [line for line in lines if len(line) <= LONGEST_REWRITE_CHARACTERS and terms_of(line) & known]
    return "\n".join(list(dict.fromkeys(usable))[:MOST_QUERIES]) or None


def usable_rewrite(answer: str, messages: Sequence[ChatMessage]) -> str | None:
    """Return the question in a model's answer, or None if it has none, or one that is not about the conversation."""
    lines = [line.strip().strip("\"'*") for line in answer.splitlines() if line.strip()]
    text = lines[0].removeprefix("Question:").strip() if lines else ""
    terms = terms_of(text)
    history, question = _excerpt(messages)
    known = terms_of(" ".join([question, *history]))
    if not terms or len(text) > LONGEST_REWRITE_CHARACTERS or len(terms & known) < LEAST_KNOWN_TERMS * len(terms):
        return None
    return text


def _split(messages: Sequence[ChatMessage]) -> tuple[list[ChatMessage], str]:
    """Return what users and the model wrote before the last question, and that question."""
    at = max((at for at, message in enumerate(messages) if message.role == "user"), default=len(messages))
    history = [item for item in messages[:at] if item.role in ("user", "assistant") and item.content]
    return history, (messages[at].content or "") if at < len(messages) else ""


def _excerpt(messages: Sequence[ChatMessage]) -> tuple[list[str], str]:
    """Return what the model gets of a conversation, one line for each message, and of its last question."""
    history, question = _split(messages)
    shown = [f"{message.role}: {_shown(message)}" for message in history[-MESSAGES_SHOWN:]]
    return shown, question[:CHARACTERS_SHOWN]


def _shown(message: ChatMessage) -> str:
    return " ".join((message.content or "")[:CHARACTERS_SHOWN].split())
