"""Follow-up questions: how they are recognised, what the model gets, and which of its answers are used."""

from __future__ import annotations

import pytest

from core.messages import ChatMessage
from inference.text.rewriting import (
    expansion_messages,
    is_follow_up,
    rewrite_messages,
    usable_queries,
    usable_rewrite,
)

CONVERSATION = [
    ChatMessage("system", "Be kind."),
    ChatMessage("user", "How long is the warranty of the Aurora coffee machine?"),
    ChatMessage("assistant", "Four years."),
    ChatMessage("user", "And does it cover the pump?"),
]


def test_a_question_after_other_messages_is_a_follow_up() -> None:
    assert is_follow_up(CONVERSATION)
    assert not is_follow_up(CONVERSATION[:2]) and not is_follow_up(CONVERSATION[:1]) and not is_follow_up([])


def test_the_model_sees_the_end_of_the_conversation() -> None:
    long = [ChatMessage("user", f"number {n} " + "word " * 1000) for n in range(20)]
    [message] = rewrite_messages([*long, *CONVERSATION])
    content = message.content or ""
    assert len(content) < 3000 and "Be kind" not in content and "number 1 " not in content
    assert (
        content.index("Aurora") < content.index("Four years.") < content.index("Question: And does it cover the pump?")
    )


@pytest.mark.parametrize(
    ("answer", "used"),
    [
        ("Does the warranty of the Aurora cover the pump?", "Does the warranty of the Aurora cover the pump?"),
        ('\nQuestion: "Aurora pump warranty"\nbecause', '"Aurora pump warranty'),
        ("", None),
        ("  \n", None),
        ("???", None),
        ("Whales sing at night in the sea", None),
        ("Aurora pump " * 40, None),
    ],
)
def test_a_rewrite_is_about_the_conversation_or_is_not_used(answer: str, used: str | None) -> None:
    assert usable_rewrite(answer, CONVERSATION) == used


def test_queries_are_asked_for_with_or_without_a_conversation() -> None:
    [message] = expansion_messages(CONVERSATION[-1:])
    assert "conversation" not in (message.content or "") and "Question: And does it" in (message.content or "")
    assert "Aurora" in (expansion_messages(CONVERSATION)[0].content or "")


@pytest.mark.parametrize(
    ("answer", "used"),
    [
        ("1. warranty of the pump\n2. Aurora guarantee\n", "warranty of the pump\nAurora guarantee"),
        ("- pump cover\n- pump cover\n\n- whales", "pump cover"),
        ("\n".join(f"pump {n}" for n in range(9)), "pump 0\npump 1\npump 2"),
        ("I do not know.", None),
    ],
)
def test_queries_of_a_model_have_a_word_in_common_with_the_conversation(answer: str, used: str | None) -> None:
    assert usable_queries(answer, CONVERSATION) == used
