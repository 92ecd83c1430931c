"""Between two rounds of an answer: runs what the model has called, and makes the prompt of the next round."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from core import events
from core.errors import ContextLengthExceeded
from core.messages import ChatMessage
from core.settings import Settings
from inference.engine.engine import Engine
from inference.engine.preparation import PreparedPrompt
from inference.functions import FunctionContext
from tasks.chat.constraints import ConstraintFactory, constraint_of
from tasks.chat.conversation import Conversation, shared_out
from tasks.chat.document_search import QueuedDocumentSearch
from tasks.chat.server_functions import FunctionCalls, ServerFunctions
from tasks.jobs.producer import Producer
from tasks.jobs.runner import RunningJob

#: Results leave at least this part of the context to the answer.
ANSWER_SHARE = 4


@dataclass(frozen=True)
class ToolRounds:
    """What the rounds of all jobs need. `context` is what functions are given besides a search in the documents."""

    settings: Settings
    engine: Engine
    producer: Producer
    functions: ServerFunctions
    context: FunctionContext

    def constraint(self, conversation: Conversation, max_tokens: int) -> ConstraintFactory | None:
        """The grammar of the next round, whose answer has at most so many tokens.

        Raises:
            InvalidRequest: if a schema of the client's cannot be enforced.
        """
        request = conversation.next_request()
        tools = [
            self.functions.enforceable(tool) if tool["function"]["name"] in conversation.server_names else tool
            for tool in request.tools
        ]
        return constraint_of(msgspec.structs.replace(request, tools=tools), self.engine.grammars, max_tokens)

    def answer(self, job: RunningJob, calls: FunctionCalls, conversation: Conversation) -> PreparedPrompt | None:
        """Runs what the last round has called and nobody has answered, and puts the results into the conversation.

        Answers the prompt of the next round; None if there will be none.
        """
        last = conversation.rounds[-1]
        search = QueuedDocumentSearch(self.producer, self.settings.function_timeout_seconds, job.record.key)
        context = replace(self.context, documents=search)
        for answered in calls.run(self.functions.registry, last.unanswered, context, job.check):
            name, result, error = answered.result.name, answered.result.result, answered.result.error
            emitted = events.ToolResult(**job.base(), call_id=answered.call_id, name=name, result=result, error=error)
            job.emit(emitted)
            last.take(emitted)
        return self._next_prompt(conversation) if conversation.end_reason is None else None

    def _next_prompt(self, conversation: Conversation) -> PreparedPrompt | None:
        """The prompt with the results of the last round, cut where they would leave no room for an answer."""
        before, last = conversation.messages, conversation.rounds[-1]
        wanted = self.settings.max_tokens if conversation.tokens_left is None else conversation.tokens_left
        limit = self.engine.model.context_length
        most = limit - min(wanted, limit // ANSWER_SHARE)
        contents = last.contents()
        prepared = self._try(conversation, [*before, *last.messages(contents)])
        if prepared is None or len(prepared.token_ids) > most:
            bare = self._try(conversation, [*before, *last.messages([""] * len(contents))])
            room = 0 if bare is None else most - len(bare.token_ids)
            cut = shared_out(contents, room, self.engine.count_tokens)
            prepared = self._try(conversation, [*before, *last.messages(cut)]) if room > 0 else None
        conversation.is_full = prepared is None
        return prepared and replace(prepared, max_tokens=min(wanted, limit - len(prepared.token_ids)))

    def _try(self, conversation: Conversation, messages: list[ChatMessage]) -> PreparedPrompt | None:
        """The prompt of these messages; None if the context has no room for it."""
        conversation.messages = messages
        try:
            return self.engine.prepare(messages, tools=conversation.next_request().tools or None)
        except ContextLengthExceeded:
            return None
