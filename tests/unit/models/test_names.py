"""Names and slugs of models."""

from __future__ import annotations

import re

import pytest

from core.errors import InvalidRequest
from core.models.names import MAX_NAME_CHARACTERS, MAX_SLUG_CHARACTERS, check_model_name, model_slug


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("Qwen2.5_7B (chat)", "qwen2.5-7b--chat"),
        ("openai/gpt", "openai-gpt"),
    ],
)
def test_a_slug_has_few_characters(name: str, slug: str) -> None:
    assert model_slug(name) == slug


def test_names_that_are_shortened_keep_different_slugs() -> None:
    first, second = model_slug("a" * 100 + "1"), model_slug("a" * 100 + "2")
    assert first != second and len(first) == len(second) == MAX_SLUG_CHARACTERS
    assert model_slug("模型") != model_slug("模型二")
    for slug in (first, model_slug("模型"), model_slug("..")):
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", slug)


def test_an_ordinary_name_is_allowed() -> None:
    for name in ("Qwen2.5-7B_Q4_K_M", "mine@home", "模型", "a" * MAX_NAME_CHARACTERS):
        check_model_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "  ", "../etc/passwd", "a/b", "a\\b", "..", "a\nb", "a\x00", "a\u2028b", "a" * (MAX_NAME_CHARACTERS + 1)],
)
def test_a_name_with_a_path_in_it_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is not the name of a model: names have") as caught:
        check_model_name(name)
    assert caught.value.param == "model"
