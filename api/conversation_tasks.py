"""Recognises what chat programs send to a model for themselves: prompts for titles, tags and follow-up questions.

Their last message is an instruction about the conversation. Documents that resemble it would only be in the way.
"""

from __future__ import annotations

import re

#: How chat programs ask for titles, tags, summaries and follow-up questions: Open WebUI begins with "### Task:", others
#: name the thing and the conversation in one sentence.
CONVERSATION_TASKS = (
    r"(?i)\A\s*#{1,6} ?task:|<chat_history>"
    r"|\b(title|headline|tags?|summary|emoji|follow-up (questions|prompts))\b[^.?!\n]{0,80}"
    r"\b(this|our|the)( above| following| current| entire)? (conversation|chat history|chat|dialogue|discussion)\b"
    r"|\bgive (this|our|the) (conversation|chat|dialogue|discussion) a\b[^.?!\n]{0,40}\b(title|name|headline)\b"
    r"|\b(suggest|generate|propose)\b[^.?!\n]{0,40}\bfollow-up (questions|prompts)\b"
    r"|\bsummari[sz]e\b[^.?!\n]{0,40}\b(conversation|chat|dialogue|discussion)\b"
)
#: A task is recognised by its beginning. The rest of the message often is the whole conversation.
TASK_CHARACTERS = 1000


def is_conversation_task(message: str, pattern: str | None) -> bool:
    """Return whether the last message of a chat is an instruction about the conversation, by RAG_TASK_PATTERN."""
    return re.search(pattern or CONVERSATION_TASKS, message[:TASK_CHARACTERS]) is not None
