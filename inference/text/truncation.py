"""Drops the oldest turns of a conversation that does not fit into the context. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.messages import ChatMessage

#: So many times fewer turns than are left are dropped at once: the beginning of the prompt, which the prompt cache
#: holds, then stays the same for some turns.
STEPS = 4
_SYSTEM = frozenset({"system", "developer"})


def without_oldest_turns(
    messages: Sequence[ChatMessage], fits: Callable[[list[ChatMessage]], bool]
) -> list[ChatMessage]:
    """Return the messages without the oldest turns that have to go so that the conversation `fits`.

    A turn is a user message with all that follows up to the next one; after the last user message it is a message of
    the model with the results of its calls. System messages, the last user message and the last turn are never dropped.
    If the conversation does not fit without all others either, those are dropped nevertheless.
    """
    turns = _turns_to_drop(messages)
    if not turns or fits(list(messages)):
        return list(messages)
    fewest, most = 1, len(turns)
    while fewest < most:
        middle = (fewest + most) // 2
        if fits(_without(messages, turns[:middle])):
            most = middle
        else:
            fewest = middle + 1
    return _without(messages, turns[: _rounded_up(fewest, len(turns))])


def _turns_to_drop(messages: Sequence[ChatMessage]) -> list[list[int]]:
    """Return the positions of the messages of each turn that may be dropped, the oldest turn first."""
    last_user = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
    turns: list[list[int]] = []
    for at, message in enumerate(messages):
        if message.role in _SYSTEM:
            continue
        begins = "user" if at <= last_user else "assistant"
        if message.role == begins or not turns:
            turns.append([])
        turns[-1].append(at)
    kept = max((number for number, turn in enumerate(turns) if last_user in turn), default=-1)
    return [turn for number, turn in enumerate(turns[:-1]) if number != kept]


def _rounded_up(dropped: int, turns: int) -> int:
    """Return the number of turns to drop, in steps that are a power of two."""
    step = 1 << max(0, ((turns + 1 - dropped) // STEPS).bit_length() - 1)
    return min(turns, -(-dropped // step) * step)


def _without(messages: Sequence[ChatMessage], turns: Sequence[Sequence[int]]) -> list[ChatMessage]:
    dropped = {at for turn in turns for at in turn}
    return [message for at, message in enumerate(messages) if at not in dropped]
