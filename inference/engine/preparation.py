"""Turns a conversation into the tokens of a prompt, and refuses early what cannot be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.errors import ContextLengthExceeded, InvalidRequest
from core.messages import ChatMessage, SamplingParams
from inference.engine.backend import Backend, Tokenizer, token_of
from inference.engine.sampling import check_sampling, require_unicode
from inference.engine.sequence import SequenceRequest
from inference.text.chat_template import ChatTemplate
from inference.text.reasoning import Reasoning

#: Of a text with more characters per token of context than this, only a beginning is tokenised, which grows until it is
#: too long or the text ends: 10 MB of spaces are one word to a tokeniser, which takes 18 s and over a gigabyte for it.
PROBE_CHARACTERS_PER_TOKEN = 8
#: A beginning may have a few more tokens than the same characters have within the whole text: its last word is cut.
PROBE_SLACK_TOKENS = 16


@dataclass(frozen=True)
class PreparedPrompt:
    """A prompt that fits into the context. `max_tokens` is how many tokens may be generated after it."""

    token_ids: list[int]
    max_tokens: int
    text: str
    #: How the answer may contain reasoning; None if the model does not reason.
    reasoning: Reasoning | None = None


class Preparation:
    """Validates and tokenises conversations. Safe to use from several threads."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        *,
        context_length: int,
        vocab_size: int,
        default_max_tokens: int | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._context_length = context_length
        self._vocab_size = vocab_size
        self._default_max_tokens = default_max_tokens

    def prepare(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        max_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> PreparedPrompt:
        """Return the prompt of a conversation. `options` are values for the chat template.

        Raises:
            ContextLengthExceeded: if the messages leave no room for an answer; the message names both lengths.
            InvalidRequest: if the messages are empty or malformed, or a parameter is out of bounds.
        """
        if sampling is not None:
            check_sampling(sampling, self._vocab_size)
        _check_messages(messages)
        self._probe("\n".join(message.content or "" for message in messages))
        pieces = self._template.render(messages, tools or (), options)
        text = "".join(piece for piece, _ in pieces)
        require_unicode(text, "messages")
        self._probe(text)
        token_ids = self._tokenize(pieces)
        room = self.room_for_answer(len(token_ids), max_tokens)
        return PreparedPrompt(token_ids, room, text, self._template.reasoning_after(pieces))

    def check(self, request: SequenceRequest) -> None:
        """Check a sequence before it is queued.

        Raises:
            ContextLengthExceeded: if its prompt leaves no room.
            InvalidRequest: if the prompt is empty, or a parameter or a token is out of bounds.
        """
        check_sampling(request.sampling, self._vocab_size)
        if not request.prompt_token_ids:
            raise InvalidRequest("The prompt is empty.", param="messages")
        self.room_for_answer(len(request.prompt_token_ids), request.max_tokens)
        for token in (*request.prompt_token_ids, *request.resume_token_ids):
            if not 0 <= token < self._vocab_size:
                raise InvalidRequest(f"Token {token} is not in the model's vocabulary.", param="messages")

    def room_for_answer(self, prompt_tokens: int, max_tokens: int | None) -> int:
        """Return how many tokens may follow a prompt: at most `max_tokens`, or else the default, and what is left.

        Clients send a `max_tokens` beyond the context by default: such an answer ends where the context does.

        Raises:
            ContextLengthExceeded: if the prompt leaves no room.
            InvalidRequest: if `max_tokens` is below 1.
        """
        if max_tokens is not None and max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {max_tokens}; it must be at least 1.", param="max_tokens")
        room = self._context_length - prompt_tokens
        if room < 1:
            raise ContextLengthExceeded(limit_tokens=self._context_length, prompt_tokens=prompt_tokens)
        return min(room, max_tokens or self._default_max_tokens or room)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens in a text; if it is far longer than the context, estimate it from a beginning."""
        characters = PROBE_CHARACTERS_PER_TOKEN * self._context_length
        while characters < len(text):
            tokens = len(self._tokenizer.tokenize(text[:characters], special=False))
            if tokens > self._context_length + PROBE_SLACK_TOKENS:
                return tokens * len(text) // characters
            characters *= 2
        return len(self._tokenizer.tokenize(text, special=False))

    def _probe(self, text: str) -> None:
        """Raise ContextLengthExceeded for a text that cannot fit, before any other work on it."""
        if len(text) > PROBE_CHARACTERS_PER_TOKEN * self._context_length:
            tokens = self.count_tokens(text)
            if tokens > self._context_length + PROBE_SLACK_TOKENS:
                raise ContextLengthExceeded(limit_tokens=self._context_length, prompt_tokens=tokens)

    def _tokenize(self, pieces: Sequence[tuple[str, bool]]) -> list[int]:
        token_ids: list[int] = []
        for at, (text, trusted) in enumerate(pieces):
            token_ids += self._tokenizer.tokenize(text, special=trusted, add_bos=at == 0)
        if len(token_ids) > 1 and token_ids[0] == token_ids[1] == self._tokenizer.bos:
            del token_ids[0]  # the template wrote the token that the tokenizer adds, too
        return token_ids


def chat_template_of(backend: Backend) -> ChatTemplate:
    """Return the compiled chat template of a model.

    Raises:
        ConfigurationError: if it cannot be used.
    """
    bos, eos = (backend.token_text(token) if token is not None else "" for token in (backend.bos, backend.eos))
    return ChatTemplate(
        backend.chat_template,
        bos=bos,
        eos=eos,
        control_tokens=backend.control_tokens,
        token_of=partial(token_of, backend),
    )


def _check_messages(messages: Sequence[ChatMessage]) -> None:
    if not messages:
        raise InvalidRequest("messages is empty: there is nothing to answer.", param="messages")
    for message in messages:
        require_unicode(message.content or "", "messages")
    if not any((message.content or "").strip() or message.tool_calls for message in messages):
        raise InvalidRequest("All messages are empty: there is nothing to answer.", param="messages")
