"""Which turns of a conversation are dropped if it does not fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.messages import ChatMessage
from inference.text.truncation import without_oldest_turns

ROLES = ("system", "user", "assistant", "call", "tool")


def message(role: str, text: str) -> ChatMessage:
    if role == "call":
        return ChatMessage("assistant", text, tool_calls=[{"id": text}])
    return ChatMessage(role, text)


def conversation(*roles: str) -> list[ChatMessage]:
    """Return messages with these roles, each with its position as its text."""
    return [message(role, str(at)) for at, role in enumerate(roles)]


def kept(messages: list[ChatMessage], most: int) -> list[int]:
    """Return the positions of the messages that stay if at most so many fit."""
    return [int(one.content or "") for one in without_oldest_turns(messages, lambda left: len(left) <= most)]


def test_a_conversation_that_fits_stays_as_it_is() -> None:
    assert kept(conversation("user", "assistant", "user"), 3) == [0, 1, 2]


def test_the_oldest_turns_are_dropped_with_all_their_messages() -> None:
    messages = conversation("system", "user", "call", "tool", "tool", "assistant", "user", "assistant", "user")
    assert kept(messages, 8) == [0, 6, 7, 8]
    assert kept(messages, 3) == [0, 8]


def test_system_messages_and_the_last_user_message_stay_even_if_they_do_not_fit() -> None:
    assert kept(conversation("system", "user", "assistant", "system", "user"), 0) == [0, 3, 4]


def test_a_long_chain_of_calls_loses_its_oldest_calls_with_their_results() -> None:
    messages = conversation("user", "assistant", "user", "call", "tool", "call", "tool", "tool", "call", "tool")
    assert kept(messages, 8) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert kept(messages, 7) == [2, 5, 6, 7, 8, 9]
    assert kept(messages, 1) == [2, 8, 9]


def test_several_turns_are_dropped_at_once_so_that_the_beginning_stays_for_some_turns() -> None:
    beginnings = []
    for turns in range(40, 60):
        messages = conversation(*("user", "assistant") * turns, "user")
        beginnings.append(kept(messages, 61)[0])
    assert len(set(beginnings)) <= 6, "a new beginning is a prompt that has to be computed afresh"
    assert all(2 * turns - first <= 61 for turns, first in zip(range(40, 60), beginnings, strict=True))


@given(st.lists(st.sampled_from(ROLES), max_size=20), st.integers(0, 20))
def test_no_rule_is_broken_in_any_conversation(roles: list[str], most: int) -> None:
    messages = conversation(*roles)
    left = kept(messages, most)
    users = [at for at, role in enumerate(roles) if role == "user"]
    assert left == sorted(set(left))
    assert {at for at, role in enumerate(roles) if role == "system"} <= set(left)
    assert not users or users[-1] in left
    for at, role in enumerate(roles):
        if role == "tool" and at and roles[at - 1] in ("call", "tool"):
            assert (at in left) == (at - 1 in left), "a result goes with its call and with the results beside it"
