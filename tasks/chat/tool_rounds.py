"""The work between two rounds of an answer: runs the server's functions, and prepares the prompt of the next round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core import events
from core.errors import ContextLengthExceeded
from core.messages import ChatMessage
from core.settings import Settings
from inference.engine.engine import Engine
from inference.engine.preparation import PreparedPrompt
from inference.functions import FunctionContext
from inference.grammars.compiler import Grammar
from tasks.chat.constraints import constraint_of
from tasks.chat.conversation import Conversation, cut_to_budget
from tasks.chat.document_search import QueuedDocumentSearch
from tasks.chat.prompts import DOCUMENTS_SHARE, reserved_tokens, shortened
from tasks.chat.server_functions import FunctionCalls, ServerFunctions
from tasks.jobs.producer import Producer
from tasks.jobs.runner import RunningJob


@dataclass(frozen=True)
class ToolRounds:
    """Completes the rounds of all jobs. Functions get `context`, with a search in the documents added."""

    settings: Settings
    engine: Engine
    producer: Producer
    functions: ServerFunctions
    context: FunctionContext

    def constraint(self, conversation: Conversation, max_tokens: int) -> Grammar | None:
        """Return the grammar of the next round, or None if any text is an answer.

        Raises:
            InvalidRequest: if a schema of the client cannot be used.
        """
        return constraint_of(conversation.next_request(), self.engine.grammars, max_tokens)

    def complete_round(
        self, job: RunningJob, calls: FunctionCalls, conversation: Conversation
    ) -> PreparedPrompt | None:
        """Run the calls of the last round that have no result yet, emit the results, and add them to the conversation.

        Return the prompt of the next round, or None if there is no next round.
        """
        last = conversation.rounds[-1]
        timeout, within, record = self.settings.function_timeout_seconds, conversation.request.within, job.record
        search = QueuedDocumentSearch(self.producer, timeout, within, record.key, record.owner)
        context = replace(self.context, documents=search)
        for call in calls.run(self.functions.registry, last.unanswered, context, job.check):
            found = call.result
            event = events.ToolResult(
                **job.event_fields(), call_id=call.call_id, name=found.name, result=found.result, error=found.error
            )
            job.emit(event)
            last.record_result(event)
        return self._next_prompt(conversation) if conversation.end_reason is None else None

    def _next_prompt(self, conversation: Conversation) -> PreparedPrompt | None:
        """Return the prompt with the results of the last round, which are cut to leave room for an answer."""
        last = conversation.rounds[-1]
        limit = self.engine.model.context_length
        max_prompt_tokens = limit - reserved_tokens(self.settings, self.engine, conversation.tokens_left)
        contents = last.contents()
        before = self._shortened(conversation, contents, max_prompt_tokens)
        prepared = self._prepare_if_fits(conversation, [*before, *last.messages(contents)])
        if prepared is None or len(prepared.token_ids) > max_prompt_tokens:
            empty = self._prepare_if_fits(conversation, [*before, *last.messages([""] * len(contents))])
            room = 0 if empty is None else max_prompt_tokens - len(empty.token_ids)
            cut = cut_to_budget(contents, room, self.engine.count_tokens)
            prepared = self._prepare_if_fits(conversation, [*before, *last.messages(cut)]) if room > 0 else None
        conversation.is_full = prepared is None
        return prepared

    def _shortened(
        self, conversation: Conversation, contents: Sequence[str], max_prompt_tokens: int
    ) -> list[ChatMessage]:
        """Return the messages before the last round. With TRUNCATION=oldest, old turns make room for its results."""
        if self.settings.truncation == "off":
            return conversation.messages
        share = self.engine.model.context_length // DOCUMENTS_SHARE
        cut = cut_to_budget(contents, share, self.engine.count_tokens)
        messages = [*conversation.messages, *conversation.rounds[-1].messages(cut)]
        kept = shortened(self.settings, self.engine, conversation.next_request(), messages, max_prompt_tokens)
        return kept[: -len(contents) - 1]

    def _prepare_if_fits(self, conversation: Conversation, messages: list[ChatMessage]) -> PreparedPrompt | None:
        """Set the messages of the conversation and return their prompt, or None if the context has no room for it."""
        conversation.messages = messages
        try:
            request = conversation.next_request()
            return self.engine.prepare(
                messages,
                tools=request.tools or None,
                max_tokens=request.max_tokens,
                options=request.template_options,
            )
        except ContextLengthExceeded:
            return None
