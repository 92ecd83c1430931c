"""Checks finished answers for what their grammars could not enforce of the client's schemas."""

from __future__ import annotations

from collections.abc import Callable

from inference.grammars.compiler import Grammar
from inference.grammars.schema_check import MAX_PROBLEMS, problems_of
from tasks.jobs.runner import ChoiceResult

AnswerCheck = Callable[[ChoiceResult], list[str]]


def check_of(grammar: Grammar | None, echo_characters: int = 0) -> AnswerCheck | None:
    """Return the check of a grammar's answers, or None if the grammar enforces all that the schemas say.

    The first `echo_characters` of an answer's text are the prompt.
    """
    if grammar is None or not grammar.unenforced:
        return None
    schemas = grammar.unenforced

    def check(result: ChoiceResult) -> list[str]:
        problems: list[str] = []
        if None in schemas and (text := result.text[echo_characters:]):
            problems += problems_of(schemas[None], text)
        for at, call in enumerate(result.tool_calls):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            if name in schemas:
                problems += [f"tool_calls[{at}]: {problem}" for problem in problems_of(schemas[name], arguments)]
        return problems[:MAX_PROBLEMS]

    return check
