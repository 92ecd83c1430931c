"""Work on the text of users and models takes time in proportion to its length, and holds no lock meanwhile."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from core.messages import ChatMessage
from inference.grammars.call_formats.objects import end_of_json, end_of_tag
from inference.text.chat_template import ChatTemplate
from inference.text.citations import Citer
from inference.text.overlap import support
from inference.text.rewriting import usable_rewrite
from ingest.embedding.tokenizer import TextTokenizer
from ingest.vector_store.codes import codes_in
from ingest.vector_store.sparse import QUERY_CHARACTERS, document_terms, query_terms
from tests.support import assert_linear

PACKAGES = ("api", "core", "inference.grammars", "inference.text", "ingest.embedding", "ingest.retrieval",
            "ingest.vector_store", "tasks", "watchers")  # fmt: skip
UNITS = ("a", "1", " ", '"', "\\", "<", "[", "{", "\n", ".", "-", "_", "漢", "/", "*", ":", "`", '\\"', "[1", "a1",
         "1.", " 1", "a ", "\n ", "\n-", "<_io.x name=", "_a", "a:", ":`")  # fmt: skip


def patterns() -> Iterator[tuple[str, re.Pattern[str], set[str]]]:
    """Yield all regular expressions that modules of `PACKAGES` keep as constants: name, expression, methods used."""
    for package in map(importlib.import_module, PACKAGES):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" in found.name or found.name.endswith("__main__"):
                continue
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                    used = re.findall(rf"\b{name}\.(\w+)\(", inspect.getsource(module))
                    yield f"{module.__name__}.{name}", value, set(used)


def apply(pattern: re.Pattern[str], methods: set[str], prefix: str, text: str) -> None:
    """Use a regular expression as its module does."""
    text = prefix + text
    pattern.match(text)
    pattern.fullmatch(text)
    if not methods or methods - {"match", "fullmatch"}:
        pattern.search(text)
        for _ in pattern.finditer(text):
            pass


def test_no_regular_expression_takes_more_than_linear_time() -> None:
    found = {pattern: (name, methods) for name, pattern, methods in patterns()}
    assert len(found) > 20
    for (pattern, (name, methods)), prefix, unit in product(found.items(), ("", '"', "x"), UNITS):
        assert_linear(partial(apply, pattern, methods, prefix), unit, 200, f"{name}: {pattern.pattern}")


def citer(text: str) -> None:
    found = Citer(["one source", "another source"])
    found.push(text)
    found.finish()


def template(text: str) -> list[tuple[str, bool]]:
    control = {"<|im_end|>": 1, "<|im_start|>": 2}
    return ChatTemplate(
        "{% for message in messages %}{{ message.content }}{% endfor %}", control_tokens=control
    ).render([ChatMessage("user", text)])


@pytest.mark.parametrize(
    ("work", "units"),
    [
        (codes_in, ("a", "1", "a1", "a ", "1 ", "_", "\u3000")),
        (query_terms, ("a", "ก", "漢", "a ", "a.", "漢a")),
        (document_terms, ("a", "ก", "漢", "a ", "a.", "漢a")),
        (citer, ("a", "`", '."', ". ", ".a", "1. ", "[1", "[1]", "[1] .", "\n", " ", "|", "a. B", "。", "```\n")),
        (lambda text: support(text, "a source"), ("a", "1", "1.", "a ", "漢", "1,")),
        (lambda text: usable_rewrite("a question", [ChatMessage("user", text)] * 2), ("a", "a ", "1.", "\n")),
        (lambda text: end_of_json('{"' + text), ('\\"', "a", "\\", "{", '"')),
        (lambda text: end_of_tag('{"' + text, "</call>"), ("</call>", '\\"', "</cal", '"')),
        (template, ("a", "<", "<|im_", "<|im_end|>", "\ue0f7")),
    ],
)
def test_text_is_worked_on_in_linear_time(work: Callable[[str], object], units: tuple[str, ...]) -> None:
    for unit in units:
        assert_linear(work, unit, 8000 // len(unit))


@pytest.mark.parametrize("role", ["user", "tool"])
def test_many_messages_are_merged_in_linear_time(role: str) -> None:
    # This template insists on alternating roles, so that consecutive messages are merged.
    source = "{% if messages | length > 2 %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}"
    refusing = ChatTemplate(source)

    def merge(text: str) -> None:
        refusing.render([ChatMessage(role, part) for part in text.split("/")])

    assert_linear(merge, "some words/", 400)


def test_a_long_query_is_searched_for_by_the_words_of_its_beginning() -> None:
    beginning = "AX-4711 " * (QUERY_CHARACTERS // 8)
    assert query_terms(beginning + "zebra") == query_terms(beginning)


def test_tokens_are_counted_without_the_interpreters_lock() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))  # noqa: S106 - no password
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer, text = TextTokenizer(words, 512), "a b " * 500_000
    turns, stop = [0], threading.Event()

    def count_turns() -> None:
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)

    other = threading.Thread(target=count_turns)
    other.start()
    try:
        before = turns[0]
        assert tokenizer.count(text) == 1_000_000
        assert turns[0] - before > 100, "the other thread went on"
    finally:
        stop.set()
        other.join()
