"""`python -m llm_api.main` starts everything, exactly as `llm-api up` does."""

from __future__ import annotations

import sys

from cli.main import app


def main() -> None:
    """Run `llm-api up` with the arguments of this process."""
    app(["up", *sys.argv[1:]], prog_name="llm-api")


if __name__ == "__main__":
    main()
