"""Models that come with Python code: it runs, or the packages that it lacks are named before it does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigurationError
from core.settings import load_settings
from ingest.embedding import model_files
from ingest.embedding.embedder import Embedder
from ingest.embedding.model_code import check_model_code
from ingest.embedding.model_files import EmbeddingModel
from ingest.retrieval.cross_encoder import _load
from tests.support_models import DIMENSION, tiny_coded_model

WORKS = "from einops import rearrange\n\n\ndef scaled(states):\n    return rearrange(2 * states, 'a b c -> a b c')\n"
LACKS = (
    "import missing_kernels.fast\nfrom other_missing import thing\n"
    "try:\n    import optional_missing\nexcept ImportError:\n    optional_missing = None\n"
    "raise SystemExit('ran')\n"
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the copies that transformers makes of the code out of the user's cache."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))


def open_embedder(folder: Path) -> Embedder:
    return Embedder.from_settings(
        load_settings(
            _env_file=None, embedding_model_name=str(folder), embedding_dtype="float32", trust_remote_code=True
        )
    )


@pytest.mark.check
def test_the_code_of_a_model_runs_with_the_packages_that_are_installed(tmp_path: Path) -> None:
    vectors = open_embedder(tiny_coded_model(tmp_path / "own-model", WORKS)).encode(["a text", "another one"])
    assert vectors.shape == (2, DIMENSION) and np.isfinite(vectors).all()


def test_packages_that_are_missing_are_all_named_before_the_code_runs(tmp_path: Path) -> None:
    folder = tiny_coded_model(tmp_path / "own-model", LACKS)
    with pytest.raises(ConfigurationError) as caught:
        open_embedder(folder)
    assert f"EMBEDDING_MODEL_NAME={folder}" in str(caught.value)
    assert "not installed: missing_kernels, other_missing." in str(caught.value)
    assert f"{sys.executable} -m pip install missing_kernels other_missing" in str(caught.value)


def test_the_code_of_a_reranker_is_checked_too(tmp_path: Path) -> None:
    folder = tiny_coded_model(tmp_path / "own-model", LACKS)
    settings = load_settings(_env_file=None, trust_remote_code=True)
    with pytest.raises(ConfigurationError, match=f"RERANK_MODEL={folder}: .* missing_kernels, other_missing"):
        _load(str(folder), settings)


def test_code_in_another_repository_of_the_hub_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a model on the hub whose classes are in another repository, one of them as a module of its own
    tiny_coded_model(tmp_path / "owner/code", LACKS)
    (tmp_path / "owner/model").mkdir()
    config = {"auto_map": {"AutoModel": "owner/code--modeling_own.OwnModel", "AutoTokenizer": [None, None]}}
    (tmp_path / "owner/model/config.json").write_text(json.dumps(config))
    modules = [{"type": "custom_st.Transformer"}, {"type": "sentence_transformers.models.Pooling"}]
    (tmp_path / "owner/model/modules.json").write_text(json.dumps(modules))
    (tmp_path / "owner/model/custom_st.py").write_text("import third_missing\n")
    fetched = []

    def file_of(repository: str, name: str) -> Path | None:
        fetched.append(name)
        path = tmp_path / repository / name
        return path if path.exists() else None

    monkeypatch.setattr(model_files, "_hub_file", file_of)
    # Then all are found, and no weights are fetched
    with pytest.raises(ConfigurationError, match="missing_kernels, other_missing, third_missing"):
        check_model_code(EmbeddingModel("owner/model", None), "EMBEDDING_MODEL_NAME=owner/model")
    assert set(fetched) == {
        "config.json", "modules.json", "custom_st.py", "modeling_own.py", "configuration_own.py", "layers.py",
    }  # fmt: skip
