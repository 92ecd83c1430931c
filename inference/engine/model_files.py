"""Finds the GGUF file to load: `MODEL_PATH`, else a file on the hub, else the starter model from its Python package."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.available_memory import memory_limit_bytes
from core.errors import ConfigurationError
from core.models.files import check_model_files, configured_model, weights_bytes
from core.settings import Settings

#: A process also needs memory for the KV cache, the compute buffers and itself.
MEMORY_OVERHEAD = 1.1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFile:
    """A GGUF file that exists and has been checked."""

    path: Path
    name: str
    is_starter: bool = False


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a loaded model. `context_length` is that of one sequence, in tokens."""

    name: str
    path: str
    context_length: int
    vocab_size: int
    parameters: int
    is_starter: bool
    #: Where the chat template is from: `file`, `family:NAME`, or `setting:NAME` (CHAT_TEMPLATE).
    chat_template: str
    description: str = ""
    #: Whether the model marks what it thinks before it answers.
    reasons: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def resolve_model(settings: Settings) -> ModelFile:
    """Return the model file that the settings name; download it if it is on the hub.

    Raises:
        ConfigurationError: if there is no such file, it is damaged or cut off, or it does not fit into memory.
    """
    configured = configured_model(settings)
    path = configured.path
    if settings.model_path is None and settings.model_repo_id is not None and settings.model_filename is not None:
        path = _download(settings.model_repo_id, settings.model_filename)
    assert path is not None
    check_model_files(path, configured.setting)
    check_memory(path)
    return ModelFile(path, configured.name, configured.is_starter)


def check_memory(path: Path) -> None:
    """Check that the weights fit into this machine's memory (GPU builds, too, map the file before they copy it).

    Raises:
        ConfigurationError: naming both sizes.
    """
    needed = int(weights_bytes(path) * MEMORY_OVERHEAD)
    total = memory_limit_bytes()
    if needed > total:
        raise ConfigurationError(
            f"{path.name} needs about {needed / 2**30:.1f} GiB of memory and this machine has {total / 2**30:.1f} GiB: "
            "choose a smaller model or a smaller quantisation of it (for instance Q4_K_M)."
        )


def _download(repo_id: str, filename: str) -> Path:
    """Return the file in the hub's local cache; the hub's client resumes broken downloads and verifies checksums."""
    # Imported here: the import takes 0.3 s, and neither a local file nor the starter model needs it.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    where = f"MODEL_REPO_ID={repo_id} MODEL_FILENAME={filename}"
    log.info("Fetching %s from the Hugging Face hub (kept in its cache)", where)
    try:
        return Path(hf_hub_download(repo_id=repo_id, filename=filename))
    except GatedRepoError as error:
        raise ConfigurationError(
            f"{where}: this repository asks for permission. Accept its terms, set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise ConfigurationError(f"{where}: there is no such public repository on the hub.") from error
    except LocalEntryNotFoundError as error:
        raise ConfigurationError(_offline(where)) from error
    except EntryNotFoundError as error:
        raise ConfigurationError(f"{where}: the repository has no such file.") from error
    except (HfHubHTTPError, OSError, RuntimeError, ValueError) as error:
        # RuntimeError: a closed httpx client or a failed xet transfer. ValueError: not a valid repository name.
        raise ConfigurationError(f"{_offline(where)} ({type(error).__name__}: {error})") from error


def _offline(where: str) -> str:
    return (
        f"{where}: the file is not in the local cache and the Hugging Face hub cannot be reached. Connect this "
        "machine, or copy the file here and set MODEL_PATH to it; with neither set, the starter model is used."
    )
