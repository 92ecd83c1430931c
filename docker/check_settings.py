"""Checks the settings before the other containers start, and says which of them have no effect in containers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from core.errors import ConfigurationError
from core.settings import Settings, load_settings

#: Settings that docker-compose.yml fixes, and what to do instead. It passes what .env says of them as GIVEN_….
FIXED = {
    "DATA_DIR": "the data is in the volume `data`",
    "BLOB_DIR": "the originals are in the volume `data`",
    "HOST": "set BIND_ADDRESS to serve other machines",
    "FLOWER_HOST": "Flower is published on 127.0.0.1 only",
}


def ignored_settings(environment: Mapping[str, str]) -> list[str]:
    """Return a line for each setting that is given, but has no effect in containers."""
    given = {name: environment.get(f"GIVEN_{name}") for name in FIXED}
    return [f"{name}={value} has no effect in containers: {FIXED[name]}." for name, value in given.items() if value]


def require_template_in_models(environment: Mapping[str, str]) -> None:
    """Check that the file with the prompt template, if it is a file, is named by its path in the containers.

    Raises:
        ConfigurationError: the path is relative; the message says where the folder is.
    """
    template = environment.get("RAG_PROMPT_TEMPLATE", "")
    if template and "{" not in template:
        _require_absolute("RAG_PROMPT_TEMPLATE", Path(template))


def require_container_paths(settings: Settings) -> None:
    """Check that no setting has a path of the host.

    Raises:
        ConfigurationError: a path is relative; the message names the setting and where the folder is.
    """
    if settings.model_path is not None:
        _require_absolute("MODEL_PATH", settings.model_path)
    for entry in settings.watch_dirs:
        if not entry.startswith("/"):
            raise ConfigurationError(
                f"WATCH_DIRS={entry}: write the path in the containers. They see the folder that INBOX_DIR names (by "
                "default ./inbox) as /inbox; mount other folders at the same path into `watcher` and `ingest`."
            )


def _require_absolute(setting: str, path: Path) -> None:
    if not path.is_absolute():
        raise ConfigurationError(
            f"{setting}={path}: write the path in the containers, /models/{path.name}. They see the folder that "
            "MODELS_DIR names (by default ./models) as /models."
        )


def main() -> None:
    """Check the settings of this container, which are those of all of them."""
    try:
        # First, because a file with a template is read when the settings are.
        require_template_in_models(os.environ)
        require_container_paths(load_settings())
    except ConfigurationError as error:
        sys.exit(error.message)
    for line in ignored_settings(os.environ):
        print(line)


if __name__ == "__main__":
    main()
