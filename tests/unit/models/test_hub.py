"""References to models on the hub, and which files of a repository they mean."""

from __future__ import annotations

import pytest

from core.errors import InvalidRequest, NotFound
from core.models.hub import Reference, choose_files

PATHS = [
    "Tiny-Q8_0.gguf",
    "Tiny-Q4_K_M.gguf",
    "Tiny-Q4_K_S.gguf",
    "Tiny-IQ4_XS.gguf",
    "BF16/Tiny-BF16-00001-of-00002.gguf",
    "BF16/Tiny-BF16-00002-of-00002.gguf",
]


@pytest.mark.parametrize(
    ("text", "repo", "choice"),
    [
        ("org/repo", "org/repo", None),
        ("org/repo:Q4_K_M", "org/repo", "Q4_K_M"),
        ("org/repo:sub/file.gguf", "org/repo", "sub/file.gguf"),
        ("https://huggingface.co/org/repo-GGUF", "org/repo-GGUF", None),
        ("hf.co/org/repo:Q8_0", "org/repo", "Q8_0"),
    ],
)
def test_a_reference_names_a_repository_and_perhaps_a_file(text: str, repo: str, choice: str | None) -> None:
    assert Reference.parse(text) == Reference(repo, choice)


@pytest.mark.parametrize(
    "text",
    ["", "repo", "../etc/passwd", "org/../etc", "org/repo:../x", "/org/repo", "org/repo/x", "org/re po", "a/b:\n"],
)
def test_other_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="write OWNER/REPOSITORY"):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("choice", "files"),
    [
        (None, ["Tiny-Q4_K_M.gguf"]),
        ("q8_0", ["Tiny-Q8_0.gguf"]),
        ("IQ4_XS", ["Tiny-IQ4_XS.gguf"]),
        ("Tiny-Q4_K_S.gguf", ["Tiny-Q4_K_S.gguf"]),
        ("Tiny-Q4_K_S", ["Tiny-Q4_K_S.gguf"]),
        ("BF16", PATHS[4:]),
        ("BF16/Tiny-BF16-00001-of-00002.gguf", PATHS[4:]),
        ("Tiny-BF16-00002-of-00002.gguf", PATHS[4:]),
    ],
)
def test_a_choice_means_all_files_of_one_model(choice: str | None, files: list[str]) -> None:
    assert choose_files(Reference("org/repo", choice), PATHS) == files


def test_what_there_is_is_listed_if_the_choice_is_not_there() -> None:
    for choice in ("Q4_K", "Q2_K", "other.gguf"):
        with pytest.raises(NotFound, match=rf"has no '{choice}'. It has: BF16/.*Tiny-Q8_0\.gguf"):
            choose_files(Reference("org/repo", choice), PATHS)
    with pytest.raises(NotFound, match="has no GGUF files"):
        choose_files(Reference("org/repo"), [])


def test_the_only_model_needs_no_choice_and_several_need_one() -> None:
    assert choose_files(Reference("org/repo"), ["only-Q8_0.gguf"]) == ["only-Q8_0.gguf"]
    with pytest.raises(InvalidRequest, match=r"several models .* They are: a-Q8_0\.gguf, b-Q8_0\.gguf"):
        choose_files(Reference("org/repo"), ["a-Q8_0.gguf", "b-Q8_0.gguf"])
    with pytest.raises(InvalidRequest, match="several models"):
        choose_files(Reference("org/repo", "Q8_0"), ["a-Q8_0.gguf", "b-Q8_0.gguf"])


def test_a_split_model_of_which_a_part_is_missing_is_refused() -> None:
    with pytest.raises(NotFound, match=r"lacks parts of a-00001-of-00003\.gguf: a-00002-of-00003\.gguf"):
        choose_files(Reference("org/repo"), ["a-00001-of-00003.gguf", "a-00003-of-00003.gguf"])
