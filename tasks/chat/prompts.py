"""Builds the first prompt of an answer: with what was found in documents, and without turns that do not fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from core.errors import ContextLengthExceeded, InvalidRequest
from core.messages import ChatMessage, GenerateRequest, Hit
from core.settings import Settings
from inference.engine.engine import Engine
from inference.engine.preparation import PreparedPrompt
from inference.text.rag_prompt import DEFAULT_TEMPLATE, rag_messages
from inference.text.truncation import without_oldest_turns
from tasks.chat.constraints import accepts_any_text, can_cite
from tasks.chat.conversation import Conversation
from tasks.chat.server_functions import ServerFunctions

#: What is found in documents and the results of functions leave 1 / ANSWER_SHARE of the context to the answer, or less
#: if the answer may not be that long. With TRUNCATION=oldest, so does the conversation.
ANSWER_SHARE = 4
#: With TRUNCATION=oldest, old turns are dropped until what was found and the results of functions have the room that
#: they need, at most 1 / DOCUMENTS_SHARE of the context.
DOCUMENTS_SHARE = 2
#: What quoting a hit takes besides its text, and the instructions around all of them.
QUOTE_OVERHEAD_TOKENS = 32
INSTRUCTION_TOKENS = 256


@dataclass(frozen=True)
class PromptBuilder:
    """Builds the first prompts of all jobs."""

    settings: Settings
    engine: Engine
    functions: ServerFunctions

    def begin(self, request: GenerateRequest, hits: Sequence[Hit]) -> Conversation:
        """Return the conversation, its last user message with the hits that the context has room for.

        Raises:
            InvalidRequest: if there are too many choices, or hits but no room for any.
        """
        if request.n > self.settings.slots:
            raise InvalidRequest(
                f"n is {request.n}; this server generates at most {self.settings.slots} choices.", param="n"
            )
        server_tools = self.functions.tools_of(request)
        request = msgspec.structs.replace(request, tools=[*request.tools, *server_tools])
        messages = self._shortened(request, hits)
        dropped = len(request.messages) - len(messages)
        request = msgspec.structs.replace(request, messages=messages)
        used = list[Hit]()
        if request.rag:
            messages, used = self._with_hits(request, hits)
        request = msgspec.structs.replace(request, messages=messages)
        return Conversation(
            request,
            frozenset(tool["function"]["name"] for tool in server_tools),
            messages=messages,
            hits=used,
            sources=[hit.text for hit in used] if can_cite(request) else None,
            dropped_messages=dropped,
        )

    def prepare(self, request: GenerateRequest) -> PreparedPrompt:
        """Return the prompt of a request. Raise InvalidRequest if it is malformed or does not fit."""
        return self.engine.prepare(
            request.messages,
            tools=request.tools or None,
            max_tokens=request.max_tokens,
            sampling=request.sampling,
            options=request.template_options,
            prompt_end=request.prompt_end,
        )

    def _shortened(self, request: GenerateRequest, hits: Sequence[Hit]) -> list[ChatMessage]:
        """Return the messages without the turns that leave too little room for an answer and for what was found."""
        room = self.engine.model.context_length - reserved_tokens(self.settings, self.engine, request.max_tokens)
        if request.rag and hits:
            found = sum(self.engine.count_tokens(hit.text) + QUOTE_OVERHEAD_TOKENS for hit in hits)
            room -= min(found + INSTRUCTION_TOKENS, self.engine.model.context_length // DOCUMENTS_SHARE)
        return shortened(self.settings, self.engine, request, request.messages, room)

    def _with_hits(self, request: GenerateRequest, hits: Sequence[Hit]) -> tuple[list[ChatMessage], list[Hit]]:
        answer_tokens = reserved_tokens(self.settings, self.engine, request.max_tokens)
        tool_tokens = self.engine.count_tokens(json.dumps(request.tools)) if request.tools else 0
        budget = max(0, self.engine.model.context_length - answer_tokens - tool_tokens)
        template = self.settings.rag_prompt_template or DEFAULT_TEMPLATE
        messages, used = rag_messages(request.messages, hits, budget, self.engine.count_tokens, template)
        if hits and not used and accepts_any_text(request):
            self._refuse_without_room(request, answer_tokens)
        return messages, used

    def _refuse_without_room(self, request: GenerateRequest, answer_tokens: int) -> None:
        """Raise InvalidRequest, because without any hit the model would invent the answer."""
        self.prepare(request)  # raises the error for a prompt that is too long even without hits
        raise InvalidRequest(
            f"The context of {self.engine.model.context_length} tokens has no room for what was found: {answer_tokens} "
            "are kept for the answer, and the conversation takes the others. Shorten it.",
            param="messages",
            code="context_length_exceeded",
        )


def reserved_tokens(settings: Settings, engine: Engine, max_tokens: int | None) -> int:
    """Return how many tokens of the context are kept free for an answer of at most `max_tokens`."""
    share = engine.model.context_length // ANSWER_SHARE
    return min(share, max_tokens or settings.max_tokens or share)


def shortened(
    settings: Settings,
    engine: Engine,
    request: GenerateRequest,
    messages: Sequence[ChatMessage],
    max_prompt_tokens: int,
) -> list[ChatMessage]:
    """Return the messages, with TRUNCATION=oldest without those that have to go for a prompt of so many tokens."""
    if settings.truncation == "off":
        return list(messages)

    def fits(kept: list[ChatMessage]) -> bool:
        try:
            prepared = engine.prepare(
                kept, tools=request.tools or None, options=request.template_options, prompt_end=request.prompt_end
            )
        except ContextLengthExceeded:
            return False
        return len(prepared.token_ids) <= max_prompt_tokens

    return without_oldest_turns(messages, fits)
