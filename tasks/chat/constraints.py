"""What a request demands of its answer: grammar, callable tools, citations, sampling.

Grammars are compiled on the task's thread, before the request is accepted.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.messages import AnswerFormatFields, GenerateRequest, SamplingParams
from inference.grammars.compiler import Grammar, GrammarCompiler


def constraint_of(request: GenerateRequest, grammars: GrammarCompiler, max_tokens: int | None = None) -> Grammar | None:
    """Return the compiled grammar of a request, or None if any text is an answer.

    What the grammar constrains ends within `max_tokens`.

    Raises:
        InvalidRequest: if a schema is out of bounds or nothing fits it, or if it is strict and cannot be enforced. The
            message names its field and the keyword.
    """
    strict = [*request.strict_tools, *([None] if request.strict_answer else [])]
    if request.tools:
        required = request.tool_choice == "required"
        return grammars.tool_calls(
            callable_tools(request),
            mode=request.tool_choice,
            parallel=request.parallel_tool_calls and request.tool_name is None,
            answer_schema=None if required else request.answer_schema,
            max_tokens=max_tokens,
            strict=strict,
        )
    return format_constraint(request, grammars, max_tokens)


def format_constraint(
    request: AnswerFormatFields, grammars: GrammarCompiler, max_tokens: int | None = None
) -> Grammar | None:
    """Return the compiled grammar of an answer's format, or None if it has none: see `constraint_of`."""
    if request.answer_pattern is not None:
        return grammars.regex(request.answer_pattern, param=request.format_param)
    if request.answer_schema is None:
        return None
    return grammars.json_schema(
        request.answer_schema, param=request.format_param, max_tokens=max_tokens, strict=request.strict_answer
    )


def callable_tools(request: GenerateRequest) -> list[dict[str, Any]]:
    """Return the tools that the answer may call: all of them, or those that the request names."""
    allowed = [request.tool_name] if request.tool_name else request.allowed_tools
    return [tool for tool in request.tools if not allowed or tool["function"]["name"] in allowed]


def accepts_any_text(request: GenerateRequest) -> bool:
    """Return whether any text is a valid answer, so that the server may also write one itself."""
    return not has_format(request) and (not request.tools or request.tool_choice == "auto")


def can_cite(request: GenerateRequest) -> bool:
    """Return whether the answer may get citation markers. JSON, calls, and answers with logprobs must not."""
    return request.rag is not None and not (has_format(request) or request.tools or request.sampling.logprobs)


def has_format(request: GenerateRequest) -> bool:
    """Return whether the answer must be JSON of a schema or match a regular expression."""
    return request.answer_schema is not None or request.answer_pattern is not None


def sampling_of(request: GenerateRequest, index: int) -> SamplingParams:
    """Return the sampling parameters of choice `index`. Each choice has its own seed.

    A required call has no stop strings, which could cut it off.
    """
    sampling = request.sampling
    if request.tools and request.tool_choice == "required":
        sampling = msgspec.structs.replace(sampling, stop=[])
    return with_own_seed(sampling, index)


def with_own_seed(sampling: SamplingParams, index: int) -> SamplingParams:
    """Return the sampling parameters of the choice number `index` of several with the same prompt."""
    if sampling.seed is not None and index:
        sampling = msgspec.structs.replace(sampling, seed=sampling.seed + index)
    return sampling
