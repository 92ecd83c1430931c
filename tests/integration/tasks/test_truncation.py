"""A conversation that is longer than the context, with the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core import events
from core.messages import ChatMessage
from tests.integration.tasks.generating import World, refusal_of, text_of

HISTORY = [
    ChatMessage(("user", "assistant")[number % 2], f"{number}: a word about whales, who sing at night. " * 6)
    for number in range(60)
]
LONG = [ChatMessage("system", "Answer briefly."), *HISTORY, ChatMessage("user", "Who sings at night?")]


@pytest.fixture
def shortening(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    prompts = world.service._prompts
    settings = prompts.settings.model_copy(update={"truncation": "oldest"})
    monkeypatch.setattr(world.service, "_prompts", replace(prompts, settings=settings))
    yield world


def test_by_default_it_is_refused(world: World) -> None:
    param, message = refusal_of(world.run(messages=LONG))
    assert param == "messages" and "2048" in message


def test_without_its_oldest_turns_it_is_answered_and_resumed(shortening: World) -> None:
    emitted = shortening.run(messages=LONG, max_tokens=24)
    accepted = next(event for event in emitted if isinstance(event, events.Accepted))
    assert isinstance(emitted[-1], events.Finished)
    assert 0 < accepted.dropped_messages < len(HISTORY) and accepted.dropped_messages % 2 == 0
    assert 1000 < accepted.prompt_tokens <= 2048 - 24
    (first, *_) = [event for event in emitted if isinstance(event, events.TextDelta)]
    begun = [(events.TextDelta, {"text": first.text, "token_ids": first.token_ids})]
    resumed = shortening.resume(begun, messages=LONG, max_tokens=24)
    assert text_of(resumed) == text_of(emitted), "the prompt of the second attempt is the same"
