"""Generates the secrets that the containers use among themselves, on the first start; later ones keep them.

    python docker/make_secrets.py FOLDER

The folder is a volume that only these containers see. They run as different users, so the files are readable to all.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

NAMES = ("redis_password", "postgres_password", "qdrant_api_key", "flower_password")

REDIS_CONFIG = """\
requirepass {password}
bind * -::*
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def make_secrets(folder: Path) -> list[str]:
    """Writes what is missing and answers the names of what it wrote. The Redis configuration is written each time."""
    written = [name for name in NAMES if not (folder / name).exists()]
    for name in written:
        # Hexadecimal: needs no quoting in a URL or in a configuration file.
        _write(folder / name, secrets.token_hex(24))
    password = (folder / "redis_password").read_text(encoding="ascii").strip()
    _write(folder / "redis.conf", REDIS_CONFIG.format(password=password))
    return written


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a start that is broken off must not leave an empty password."""
    draft = path.with_suffix(".new")
    draft.write_text(text, encoding="ascii")
    draft.chmod(0o444)
    draft.replace(path)


def main() -> None:
    """Makes the secrets in the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print("Generated:", ", ".join(make_secrets(folder)) or "nothing, all are there")


if __name__ == "__main__":
    main()
