"""Compiling of grammars: what waits for what, what is enforced, and what is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llguidance import LLMatcher

from core.errors import InvalidRequest
from inference.grammars import compiler as compiler_module
from inference.grammars.compiler import GrammarCompiler
from inference.grammars.grammar_errors import check_compiled
from inference.grammars.shortest_end import byte_tokenizer

SLOW: dict[str, Any] = {"const": "slow"}


@pytest.fixture
def compiler() -> GrammarCompiler:
    return GrammarCompiler(byte_tokenizer)


class Compiling:
    """Holds the compilation of `SLOW` until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        self.grammars: list[str] = []
        monkeypatch.setattr(compiler_module, "LLMatcher", self.compile)

    def compile(self, tokenizer: Any, grammar: str, **options: Any) -> LLMatcher:
        self.grammars.append(grammar)
        if '"slow"' in grammar:
            self.begun.set()
            assert self.release.wait(20)
        return LLMatcher(tokenizer, grammar, **options)


def test_grammars_in_the_cache_do_not_wait_while_another_compiles(
    compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler.json_schema({"type": "integer"})
    compiling = Compiling(monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(compiler.json_schema, SLOW) for _ in range(2)]
        assert compiling.begun.wait(20)
        assert compiler.json_schema({"type": "integer"}).compiled is not None
        assert compiler.json_schema({"type": "boolean"}).compiled is not None
        assert not any(one.done() for one in slow)
        compiling.release.set()
        first, second = (one.result(20) for one in slow)
    assert first.compiled is second.compiled
    assert sum('"slow"' in grammar for grammar in compiling.grammars) == 2, "once over tokens and once over bytes"


UNENFORCEABLE: list[tuple[dict[str, Any], str]] = [
    ({"type": "string", "not": {"const": "a"}}, "not"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"type": "array", "contains": {"const": 1}}, "contains"),
    ({"type": "object", "if": {"required": ["a"]}, "then": {"required": ["b"]}}, "if"),
    ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
    ({"type": "object", "propertyNames": {"maxLength": 3}}, "propertyNames"),
    ({"type": "object", "unevaluatedProperties": {"type": "string"}}, "unevaluatedProperties"),
    ({"type": "string", "pattern": "^(?!a).*$"}, "pattern"),
    ({"type": "string", "pattern": r"^(a)\1$"}, "pattern"),
    ({"type": "string", "format": "uri-reference"}, "format"),
    ({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}], "type": "object"}, "oneOf"),
    ({"type": "object", "patternProperties": {"^a": {"type": "string"}, "b$": {"type": "null"}}}, "patternProperties"),
]


@pytest.mark.parametrize(("schema", "keyword"), UNENFORCEABLE, ids=str)
def test_what_no_grammar_can_enforce_is_left_to_a_check_or_refused_if_strict(
    compiler: GrammarCompiler, schema: dict[str, Any], keyword: str
) -> None:
    whole = {"type": "object", "properties": {"a": {"type": "integer"}, "b": schema}, "required": ["a"]}
    assert compiler.json_schema(whole).unenforced == {None: whole}
    tools = [{"type": "function", "function": {"name": name, "parameters": whole}} for name in ("f", "g")]
    assert compiler.tool_calls(tools).unenforced == {"f": whole, "g": whole}
    with pytest.raises(InvalidRequest, match=keyword) as refused:
        compiler.json_schema(whole, strict=True)
    assert refused.value.param == "response_format"
    with pytest.raises(InvalidRequest, match=keyword) as refused:
        compiler.tool_calls(tools, strict=["g"])
    assert refused.value.param == "tools.1.function.parameters"


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "no such type"}, "no such type"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
        ({"type": "string", "pattern": "("}, "pattern"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"$ref": "#"}, "refers to itself"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "without an end"),
        ({"type": "array", "minItems": 5000}, "minItems is 5000"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_schemas_that_nothing_fits_or_that_are_none_are_refused(
    compiler: GrammarCompiler, schema: dict[str, Any], reason: str, strict: bool
) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        compiler.json_schema(schema, strict=strict)
    assert refused.value.param == "response_format"
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}, "required": ["a"]}},
    }
    if reason not in ("refers to itself", "without an end"):  # within the parameters, "#" is another schema
        with pytest.raises(InvalidRequest) as refused:
            compiler.tool_calls([tool], mode="auto", strict=["f"] if strict else [])
        assert refused.value.param == "tools.0.function.parameters"


def test_an_error_is_given_to_all_that_wait_for_it_and_not_kept(compiler: GrammarCompiler) -> None:
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            compiler.regex("(", param="guided_regex")
    assert not compiler._cache
    check_compiled(compiler.regex("a").compiled.matcher)
