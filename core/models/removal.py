"""Removes models from `MODELS_DIR`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from core.errors import Conflict, NotFound
from core.models.files import parts_of
from core.models.library import LibraryModel, ModelLibrary
from core.models.names import check_model_name
from core.models.pull_records import PullRecord
from core.settings import Settings


def remove_model(name: str, library: ModelLibrary, settings: Settings) -> LibraryModel:
    """Remove all files of a model, and return what it was. A process that has loaded it keeps it until it ends.

    Raises:
        InvalidRequest: this is no model's name.
        NotFound: there is no such model.
        Conflict: the settings name it, or it is not in MODELS_DIR.
        OSError: a file cannot be removed.
    """
    check_model_name(name)
    model = library.find(name)
    if model is None:
        raise NotFound(f"There is no model {name!r} in {settings.models_path}.", param="model", code="model_not_found")
    if model.origin == "configured":
        raise Conflict(f"The settings name {name!r} ({model.path}): change them before you remove it.", param="model")
    if not Path(os.path.realpath(model.path)).is_relative_to(os.path.realpath(settings.models_path)):
        raise Conflict(f"{model.path} is not in MODELS_DIR ({settings.models_path}).", param="model")
    folder = settings.models_path.joinpath(*model.path.relative_to(settings.models_path).parts[:2])
    parts = parts_of(model.path)
    for part in parts:
        part.unlink()
    if model.repo is not None:
        PullRecord.remove(folder, (part.relative_to(folder).as_posix() for part in parts))
    _remove_empty_folders(model.path.parent, settings.models_path)
    return model


def _remove_empty_folders(folder: Path, top: Path) -> None:
    with suppress(OSError):  # there is something in it
        while folder != top and folder.is_relative_to(top):
            folder.rmdir()
            folder = folder.parent
