"""The examples of the README and of docs/ are well-formed, and the files, settings and targets that they name exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from api.schemas.chat import ChatRequest
from api.schemas.completions import CompletionRequest
from api.schemas.embeddings import EmbeddingsRequest
from api.schemas.rag import RagChatRequest, SearchRequest, TextsRequest
from api.schemas.rerank import RerankBody
from core.settings import Settings
from inference.functions import FunctionRegistry
from scripts.settings_docs import COMPOSE_SETTINGS

ROOT = Path(__file__).resolve().parents[2]
MAX_README_LINES = 200
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
README = PAGES[ROOT / "README.md"]
TEXT = "\n".join(PAGES.values())
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
BODIES: dict[str, Any] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingsRequest,
    "/v1/rerank": RerankBody,
    "/v1/rag/documents": TextsRequest,
    "/v1/rag/search": SearchRequest,
    "/v1/rag/chat": RagChatRequest,
}


def commands() -> list[list[str]]:
    """Return the commands of all shell blocks, split as a shell does."""
    found: list[list[str]] = []
    for text in [text for language, text in BLOCKS if not language]:
        joined = text.replace("\\\n", " ")
        # A quoted body spans several lines, so lines are joined until the quotes are closed.
        pending = ""
        for line in joined.splitlines():
            pending = f"{pending}\n{line}" if pending else line
            try:
                words = shlex.split(pending, comments=True)
            except ValueError:
                continue
            found += [words] if words else []
            pending = ""
        assert not pending, f"unbalanced quotes: {pending}"
    return found


CURLS = [words for words in commands() if words[0] == "curl"]


def test_the_examples_show_chat_embeddings_documents_search_and_rag() -> None:
    paths = {word.partition("?")[0].removeprefix("localhost:8000") for words in CURLS for word in words[1:]}
    assert paths >= set(BODIES) | {"/v1/functions", "/v1/jobs", "/v1/rag/documents/upload"}


@pytest.mark.parametrize("words", [words for words in CURLS if "-d" in words], ids=lambda words: words[1])
def test_a_curl_example_sends_what_its_route_takes(words: list[str]) -> None:
    path = next(word for word in words if word.startswith("localhost:")).removeprefix("localhost:8000")
    assert "content-type: application/json" in words
    body = json.loads(words[words.index("-d") + 1])
    checked = BODIES[path].model_validate(body)
    assert set(body) <= set(checked.model_fields_set), "no field that would be ignored"


@pytest.mark.parametrize("code", [text for language, text in BLOCKS if language == "python"])
def test_a_python_example_compiles(code: str) -> None:
    compile(code, "README.md", "exec")


def test_the_function_of_the_readme_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = FunctionRegistry()
    monkeypatch.setattr("llm_api.function_registry", registry)
    (code,) = [text for language, text in BLOCKS if language == "python" and "@function_registry" in text]
    exec(compile(code, "README.md", "exec"), {"__name__": "readme_example"})
    assert registry.call("stock_level", '{"article": "A-1042"}').result == 17
    (tool,) = registry.schemas()
    described = tool["function"]["parameters"]["properties"]
    assert all(argument.get("description") for argument in described.values())


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", PAGES[page]):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if heading:
            assert heading in headings(path), f"{target}#{heading}"


def headings(path: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    lines = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


def test_settings_that_the_text_names_exist() -> None:
    names = {name.upper() for name in Settings.model_fields}
    builds = {"DGGML_CUDA", "DGGML_HIP", "DGGML_VULKAN"}
    elsewhere = {*builds, *COMPOSE_SETTINGS, "GOMP_SPINCOUNT"}
    assert set(re.findall(r"\b([A-Z]{3,}(?:_[A-Z]+)+)(?==|`)", TEXT)) <= names | elsewhere


def test_make_targets_that_the_text_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w[\w-]*):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"`?make (run|test|down|lint|soak)\b", TEXT))
    assert {"run", "test", "down"} <= named <= targets
