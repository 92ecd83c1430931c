"""The grammar that a request's answer must obey. Compiled on the task's thread, before the request is accepted."""

from __future__ import annotations

from typing import Any

import msgspec

from core.messages import GenerateRequest, SamplingParams
from inference.grammars.compiler import ConstraintFactory, GrammarCompiler

__all__ = ["ConstraintFactory", "callable_tools", "can_cite", "constraint_of", "is_free", "sampling_of"]


def constraint_of(
    request: GenerateRequest, grammars: GrammarCompiler, max_tokens: int | None = None
) -> ConstraintFactory | None:
    """The compiled grammar of a request; None where the answer is free. What it holds ends within `max_tokens`.

    Raises:
        InvalidRequest: if a schema cannot be enforced; its field and the keyword are named.
    """
    if request.tools:
        required = request.tool_choice == "required"
        return grammars.tool_calls(
            callable_tools(request),
            mode=request.tool_choice,
            parallel=request.parallel_tool_calls and request.tool_name is None,
            answer_schema=None if required else request.answer_schema,
            max_tokens=max_tokens,
        )
    if request.answer_schema is None:
        return None
    return grammars.json_schema(request.answer_schema, max_tokens=max_tokens)


def callable_tools(request: GenerateRequest) -> list[dict[str, Any]]:
    """The tools that the answer may call: all, or the one that was named."""
    return [tool for tool in request.tools if request.tool_name in (None, tool["function"]["name"])]


def is_free(request: GenerateRequest) -> bool:
    """Whether any text is an answer, also one that the server writes itself."""
    return request.answer_schema is None and (not request.tools or request.tool_choice == "auto")


def can_cite(request: GenerateRequest) -> bool:
    """Whether markers of sources may be put into the answer: not into JSON and calls, nor where tokens are counted."""
    return request.rag is not None and not (request.answer_schema or request.tools or request.sampling.logprobs)


def sampling_of(request: GenerateRequest, index: int) -> SamplingParams:
    """The sampling of choice number `index`: each has its own seed, and a forced call is not cut by a stop string."""
    sampling = request.sampling
    if request.tools and request.tool_choice == "required":
        sampling = msgspec.structs.replace(sampling, stop=[])
    if sampling.seed is not None and index:
        sampling = msgspec.structs.replace(sampling, seed=sampling.seed + index)
    return sampling
