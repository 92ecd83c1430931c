"""400 schemas like those of real APIs: none crashes, and what cannot be enforced is named if strict."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import jsonschema
import llama_cpp.llama_cpp as llama
import pytest
from llguidance.llamacpp import lltokenizer_from_vocab

from core.errors import InvalidRequest
from core.settings import load_settings
from inference.engine.model_files import resolve_model
from inference.grammars.compiler import GrammarCompiler
from tests.schema_collection import Schema, collection

CASES = list(collection())


@pytest.fixture(scope="module")
def compiler() -> Iterator[GrammarCompiler]:
    """Yield a compiler for the vocabulary of the starter model, which is loaded without its weights."""
    params = llama.llama_model_default_params()
    params.vocab_only = True
    path = resolve_model(load_settings(_env_file=None)).path
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    assert model
    compiler = GrammarCompiler(lambda: lltokenizer_from_vocab(llama.llama_model_get_vocab(model)))
    compiler.warm_up()
    yield compiler
    llama.llama_model_free(model)


def test_there_are_400_different_valid_schemas() -> None:
    assert len({json.dumps(schema) for _, schema, _ in CASES}) == len({name for name, _, _ in CASES}) == 400
    for _, schema, _ in CASES:
        jsonschema.validators.validator_for(schema).check_schema(schema)


@pytest.mark.parametrize(("schema", "keyword"), [case[1:] for case in CASES], ids=[name for name, _, _ in CASES])
def test_a_schema_is_compiled_and_refused_by_the_name_of_what_is_not_enforced_if_strict(
    compiler: GrammarCompiler, schema: Schema, keyword: str | None
) -> None:
    grammar = compiler.json_schema(schema, max_tokens=512)
    assert grammar().mask()
    assert grammar.unenforced == ({} if keyword is None else {None: schema})
    try:
        compiler.json_schema(schema, strict=True)
        refused = None
    except InvalidRequest as error:
        refused = error.message
    assert (refused is None) == (keyword is None), refused
    if keyword is not None and refused is not None:
        assert keyword in refused and refused.startswith("response_format: the schema cannot be enforced: ")
