"""Generates the secrets that the containers share, on the first start; later starts keep them.

    python docker/make_secrets.py FOLDER

The folder is a volume that only these containers mount. They run as different users, so all can read the files.
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
hz 2
"""


def make_secrets(folder: Path) -> list[str]:
    """Write the missing secrets and return their names. The Redis configuration is written each time."""
    written = [name for name in NAMES if not (folder / name).exists()]
    for name in written:
        # Hexadecimal, which needs no quoting in URLs and configuration files.
        _write(folder / name, secrets.token_hex(24))
    password = (folder / "redis_password").read_text(encoding="ascii").strip()
    _write(folder / "redis.conf", REDIS_CONFIG.format(password=password))
    return written


def _write(path: Path, text: str) -> None:
    """Write a file completely or not at all: an interrupted start must not leave an empty password."""
    draft = path.with_suffix(".new")
    draft.write_text(text, encoding="ascii")
    draft.chmod(0o444)
    draft.replace(path)


def main() -> None:
    """Generate the secrets in the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print("Generated:", ", ".join(make_secrets(folder)) or "nothing, all secrets exist")


if __name__ == "__main__":
    main()
