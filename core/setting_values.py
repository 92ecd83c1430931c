"""Checks of the values of single settings. They raise ValueError, whose message pydantic reports with the setting."""

from __future__ import annotations

import re
from pathlib import Path

_HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?|[0-9a-fA-F:.]+")


def require_gguf(name: str | None) -> None:
    """Raise ValueError if a model's file is given that is not a GGUF file."""
    if name is not None and not name.lower().endswith(".gguf"):
        raise ValueError(
            f"{name} is not a GGUF file. llama.cpp loads GGUF only: choose a .gguf file of the model "
            "(most repositories have a …-GGUF twin), or convert it with llama.cpp's convert_hf_to_gguf.py"
        )


def read_template(value: str) -> str:
    """Return the text of a prompt template, which is given as text or as the path of a file.

    Raises:
        ValueError: there is no such file, or the placeholders are wrong.
    """
    text = value
    if "{" not in value:
        try:
            text = Path(value).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"this is neither a template with its placeholders nor a file that can be read ({error})"
            ) from None
    found = re.findall(r"\{[a-z_]*\}", text)
    if sorted(found) != ["{documents}", "{question}"]:
        raise ValueError(
            "the template must have the placeholders {documents} and {question}, once each, and no other; it has "
            + (", ".join(found) or "none")
        )
    return text


def require_host_name(name: str) -> None:
    """Raise ValueError if a text is neither a host's name, nor `*` or `*.NAME`."""
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a host's name: write names without scheme, port and path")
