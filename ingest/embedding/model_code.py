"""The Python code that a model comes with: the packages that it needs are found before weights are downloaded."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

from core.errors import ConfigurationError
from ingest.embedding.model_files import EmbeddingModel

#: What of a model's `auto_map` is loaded for embedding and for reranking.
LOADED_CLASSES = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
#: Between the repository and the class, where the code is in another repository than the model.
REPOSITORY_SEPARATOR = "--"


def check_model_code(model: EmbeddingModel, setting: str) -> None:
    """Check that the packages are installed which the code of a model imports.

    Args:
        setting: the setting that names the model, and its value: for the message.

    Raises:
        ConfigurationError: some are missing; the message says how they are installed.
    """
    missing = sorted({name for name in _imports(model) if importlib.util.find_spec(name) is None})
    if missing:
        raise ConfigurationError(
            f"{setting}: the Python code of this model needs packages that are not installed: {', '.join(missing)}. "
            f"Install them and start again: {sys.executable} -m pip install {' '.join(missing)}"
        )


def _imports(model: EmbeddingModel) -> Iterator[str]:
    """Yield the packages that the model's code imports, except where it goes on without them."""
    # Imported here: it takes seconds, and few models come with code.
    from transformers.dynamic_module_utils import get_imports, get_relative_imports

    pending, seen = list(_entry_files(model)), set[tuple[str, str]]()
    while pending:
        source, name = pending.pop()
        path = source.find_file(name)
        if path is None or (source.source, name) in seen:
            continue
        seen.add((source.source, name))
        yield from get_imports(path)
        folder = PurePosixPath(name).parent
        pending += [(source, f"{folder / relative}.py") for relative in get_relative_imports(path)]


def _entry_files(model: EmbeddingModel) -> Iterator[tuple[EmbeddingModel, str]]:
    """Yield the files with the classes that the model names, each with the repository or folder that it is in."""
    auto_map = model.read_json("config.json").get("auto_map", {})
    named = [auto_map[name] for name in LOADED_CLASSES if name in auto_map]
    modules = model.find_file("modules.json")
    types = [module["type"] for module in json.loads(modules.read_text("utf-8"))] if modules else []
    named += [name for name in types if not name.startswith("sentence_transformers.")]
    for reference in named:
        # A tokenizer has two classes, of which one may be missing.
        for one in reference if isinstance(reference, list) else [reference]:
            if one:
                repository, _, path = one.rpartition(REPOSITORY_SEPARATOR)
                source = EmbeddingModel(repository, None) if repository else model
                yield source, f"{path.rpartition('.')[0].replace('.', '/')}.py"
