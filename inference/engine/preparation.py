"""Turns a conversation into the tokens of a prompt, and refuses early what cannot be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.errors import ContextLengthExceeded, InvalidRequest
from core.messages import ChatMessage, PromptEnd, SamplingParams
from inference.engine.backend import Backend, Tokenizer, token_of
from inference.engine.sampling import check_sampling, require_unicode, token_entry
from inference.engine.sequence import SequenceRequest
from inference.text.chat_template import ChatTemplate
from inference.text.reasoning import Reasoning

#: Of a text with more characters per token of context than this, only a beginning is tokenised, which grows until it is
#: too long or the text ends: 10 MB of spaces are one word to a tokeniser, which takes 18 s and over a gigabyte for it.
PROBE_CHARACTERS_PER_TOKEN = 8
#: A beginning may have a few more tokens than the same characters have within the whole text: its last word is cut.
PROBE_SLACK_TOKENS = 16
#: Of a text whose tokens are the answer, so many characters are tokenised, or more if they may fit into the context:
#: llama.cpp takes a second for so many if they are nothing but control tokens, and four for twice as many.
MAX_TEXT_CHARACTERS = 2**18


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
        prompt_end: PromptEnd = "answer",
    ) -> PreparedPrompt:
        """Return the prompt of a conversation. `options` are values for the chat template.

        Raises:
            ContextLengthExceeded: if the messages leave no room for an answer; the message names both lengths.
            InvalidRequest: if the messages are empty or malformed, or a parameter is out of bounds.
        """
        if sampling is not None:
            check_sampling(sampling, self._vocab_size)
        text, token_ids, reasoning = self._chat_prompt(messages, tools or (), options or {}, prompt_end)
        return PreparedPrompt(token_ids, self.room_for_answer(len(token_ids), max_tokens), text, reasoning)

    def _chat_prompt(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[dict[str, Any]],
        options: Mapping[str, Any],
        prompt_end: PromptEnd,
    ) -> tuple[str, list[int], Reasoning | None]:
        _check_messages(messages)
        self._probe("\n".join(message.content or "" for message in messages))
        pieces = self._template.render(messages, tools, options, prompt_end)
        text = "".join(piece for piece, _ in pieces)
        require_unicode(text, "messages")
        self._probe(text)
        return text, self._tokenize(pieces), self._template.reasoning_after(pieces, prompt_end)

    def prepare_raw(
        self,
        prompt: str | Sequence[int],
        *,
        suffix: str | None = None,
        add_special_tokens: bool = True,
        max_tokens: int,
        sampling: SamplingParams,
        param: str = "prompt",
    ) -> PreparedPrompt:
        """Return a prompt without a template: a text, in which control tokens are recognised, or token ids as they are.

        With a `suffix`, the model writes what comes between both texts, which are then plain: they come from a file.
        Errors call the prompt `param`. `max_tokens` may be 0.

        Raises:
            ContextLengthExceeded: if the prompt leaves no room for a token, unless `max_tokens` is 0.
            InvalidRequest: if it is empty, no Unicode, or not of this vocabulary, if this cannot fill in the middle, or
                if a parameter is out of bounds.
        """
        check_sampling(sampling, self._vocab_size)
        if isinstance(prompt, str):
            token_ids = self._plain_tokens(
                prompt, special=suffix is None, add_bos=add_special_tokens and suffix is None, param=param
            )
        else:
            self.check_tokens(prompt, param)
            token_ids = list(prompt)
        if suffix is not None:
            token_ids = self._around_middle(token_ids, suffix, add_bos=add_special_tokens)
        if not token_ids:
            raise InvalidRequest("The prompt is empty, and texts of this model begin with no token.", param=param)
        room = self._context_length - len(token_ids)
        if room < min(1, max_tokens):
            raise ContextLengthExceeded(
                limit_tokens=self._context_length, prompt_tokens=len(token_ids), param=param.partition(".")[0]
            )
        text = prompt if isinstance(prompt, str) else self._tokenizer.detokenize(prompt)
        return PreparedPrompt(token_ids, min(room, max_tokens), text)

    def _around_middle(self, prefix: list[int], suffix: str, *, add_bos: bool) -> list[int]:
        around = self._tokenizer.fill_in_middle
        if around is None:
            raise InvalidRequest(
                "'suffix' needs a model whose vocabulary has tokens for filling in the middle, which this one lacks.",
                param="suffix",
                code="unsupported_parameter",
            )
        begin = self._tokenizer.tokenize("", special=True, add_bos=True) if add_bos else []
        if begin and prefix[:1] == begin:
            del prefix[0]
        after = self._plain_tokens(suffix, special=False, add_bos=False, param="suffix")
        return [*begin, around.prefix, *prefix, around.suffix, *after, around.middle]

    def _plain_tokens(self, text: str, *, special: bool, add_bos: bool, param: str) -> list[int]:
        require_unicode(text, param)
        self._probe(text, param)
        return self._tokenize([(text, special)], add_bos=add_bos)

    def text_tokens(self, text: str, *, special: bool, add_bos: bool, param: str) -> list[int]:
        """Return the token ids of a text, which may exceed the context. With `special`, control tokens are recognised.

        Raises:
            InvalidRequest: if it is no Unicode, or longer than what is tokenised for a request.
        """
        require_unicode(text, param)
        most = max(MAX_TEXT_CHARACTERS, PROBE_CHARACTERS_PER_TOKEN * self._context_length)
        if len(text) > most:
            raise InvalidRequest(f"'{param}' has {len(text)} characters; at most {most} are allowed.", param=param)
        return self._tokenize([(text, special)], add_bos=add_bos)

    def chat_tokens(
        self, messages: Sequence[ChatMessage], tools: Sequence[dict[str, Any]], prompt_end: PromptEnd
    ) -> list[int]:
        """Return the token ids of a conversation's prompt, which need not leave room for an answer.

        Raises:
            ContextLengthExceeded: if it is far longer than the context.
            InvalidRequest: if the messages are empty or malformed.
        """
        return self._chat_prompt(messages, tools, {}, prompt_end)[1]

    def token_entry(self, token: int) -> tuple[str, list[int]]:
        """Return the text of a token, a control token's name included, and its bytes; what is no UTF-8 is U+FFFD."""
        return token_entry(token, self._tokenizer, names=True)

    def text_of(self, tokens: Sequence[int], param: str) -> str:
        """Return the text of tokens. Raise InvalidRequest if one is not in the vocabulary."""
        self.check_tokens(tokens, param)
        return self._tokenizer.detokenize(tokens)

    def check_tokens(self, tokens: Sequence[int], param: str) -> None:
        """Raise InvalidRequest, which calls the tokens `param`, if one is not in the vocabulary."""
        for token in tokens:
            if not 0 <= token < self._vocab_size:
                raise InvalidRequest(
                    f"Token {token} is not in the model's vocabulary, whose ids are 0 to {self._vocab_size - 1}.",
                    param=param,
                )

    def check(self, request: SequenceRequest) -> None:
        """Check a sequence before it is queued.

        Raises:
            ContextLengthExceeded: if its prompt leaves no room.
            InvalidRequest: if the prompt is empty, or a parameter or a token is out of bounds.
        """
        check_sampling(request.sampling, self._vocab_size)
        if not request.prompt_token_ids:
            raise InvalidRequest("The prompt is empty.", param="messages")
        # What is scored is generated, as far as the cache is concerned.
        generated = len(request.scored_token_ids) + request.max_tokens
        self.room_for_answer(len(request.prompt_token_ids), generated)
        self.check_tokens([*request.prompt_token_ids, *request.scored_token_ids, *request.resume_token_ids], "messages")

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

    def _probe(self, text: str, param: str = "messages") -> None:
        """Raise ContextLengthExceeded for a text that cannot fit, before any other work on it."""
        if len(text) > PROBE_CHARACTERS_PER_TOKEN * self._context_length:
            tokens = self.count_tokens(text)
            if tokens > self._context_length + PROBE_SLACK_TOKENS:
                raise ContextLengthExceeded(
                    limit_tokens=self._context_length, prompt_tokens=tokens, param=param.partition(".")[0]
                )

    def _tokenize(self, pieces: Sequence[tuple[str, bool]], *, add_bos: bool = True) -> list[int]:
        token_ids: list[int] = []
        for at, (text, trusted) in enumerate(pieces):
            token_ids += self._tokenizer.tokenize(text, special=trusted, add_bos=add_bos and at == 0)
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
