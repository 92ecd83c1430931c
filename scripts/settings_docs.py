"""Writes `.env.example` and the table of settings in docs/settings.md.

    python scripts/settings_docs.py

Names, defaults and descriptions come from `core/settings/`. A test checks that both files are up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.settings import GROUPS  # noqa: E402 - only importable from the repository's root

ENV_EXAMPLE = ROOT / ".env.example"
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
TABLE_BEGIN = "<!-- settings: written by scripts/settings_docs.py -->"
TABLE_END = "<!-- end of settings -->"

HEADER = """\
# Settings of llm-api. Copy this file to .env and take the # from the lines you want to change.
# The environment wins over .env. What is shown is the default; nothing after = means that there is none.
"""

#: Settings that only docker-compose.yml reads: name → (default, description).
COMPOSE_SETTINGS = {
    "BIND_ADDRESS": ("127.0.0.1", "Address on which the ports are published. Another than loopback needs keys."),
    "GRAFANA_PORT": ("3000", "Port of Grafana on loopback, with `--profile monitoring`."),
    "INBOX_DIR": ("./inbox", "The folder on this machine that is watched."),
    "TORCH_INDEX_URL": ("", "At build: a further package index for torch, such as that of its CPU-only wheels."),
    "EXTRA_INDEX": ("", "At build: further package indexes, such as that of llama-cpp-python's wheels."),
    "CMAKE_ARGS": (
        "",
        "At build: options for compiling llama.cpp; -DGGML_NATIVE=OFF for an image that moves to other machines.",
    ),
}


@dataclass(frozen=True)
class Setting:
    """A setting as it is shown; `default` is empty if it has none."""

    name: str
    default: str
    description: str


def setting_groups() -> Iterator[tuple[str, list[Setting]]]:
    """Yield the groups of settings by name, each with its settings in order."""
    for group in GROUPS:
        fields = group.model_fields.items()
        yield (
            str(group.__doc__).removesuffix("."),
            [Setting(name.upper(), _shown(info.default), info.description or "") for name, info in fields],
        )


def env_example() -> str:
    """Return the text of `.env.example`."""
    lines = [HEADER]
    for group, settings in setting_groups():
        lines += [f"## {group}", ""]
        lines += [f"# {setting.description}\n#{setting.name}={setting.default}\n" for setting in settings]
    lines += ["## Only for docker-compose.yml", ""]
    lines += [f"# {description}\n#{name}={default}\n" for name, (default, description) in COMPOSE_SETTINGS.items()]
    return "\n".join(lines)


def settings_table() -> str:
    """Return the Markdown table of all settings."""
    lines = ["| Setting | Default | What it does |", "| --- | --- | --- |"]
    for group, settings in setting_groups():
        lines.append(f"| **{group}** | | |")
        for setting in settings:
            default = f"`{setting.default}`" if setting.default else ""
            lines.append(f"| `{setting.name}` | {default} | {_escaped(setting.description)} |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """Return the page with the current table between its markers.

    Raises:
        ValueError: the markers are missing.
    """
    before, begin, rest = page.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise ValueError(f"docs/settings.md has no {TABLE_BEGIN} … {TABLE_END}")
    return f"{before}{TABLE_BEGIN}\n{settings_table()}\n{TABLE_END}{after}"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def _shown(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    if isinstance(default, Path):
        return "./" + str(default) if not default.is_absolute() else str(default)
    return str(default)


def main() -> None:
    """Write both files."""
    ENV_EXAMPLE.write_text(env_example(), encoding="utf-8")
    SETTINGS_PAGE.write_text(with_table(SETTINGS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
