"""The library of models: what is listed, under which names, and what is said of files that cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from core.models import library as library_module
from core.models.digests import FILE_NAME, ModelDigests
from core.models.files import STARTER_NAME
from core.models.library import LibraryModel, ModelLibrary
from core.models.pull_records import PullRecord
from core.settings import Settings, load_settings
from tests.gguf_files import number_field, text_field, tiny_model


def settings_of(tmp_path: Path, **values: object) -> Settings:
    return load_settings(_env_file=None, data_dir=tmp_path / "data", models_dir=tmp_path / "models", **values)


def names(library: ModelLibrary) -> list[str]:
    return [model.name for model in library.models()]


def split_model(folder: Path, stem: str, count: int) -> list[Path]:
    return [
        tiny_model(
            folder / f"{stem}-{number + 1:05d}-of-{count:05d}.gguf",
            {"split.no": number_field(number), "split.count": number_field(count)},
        )
        for number in range(count)
    ]


def test_without_files_there_is_the_starter(tmp_path: Path) -> None:
    [model] = ModelLibrary(settings_of(tmp_path)).models()
    assert model.name == STARTER_NAME and model.is_starter and model.origin == "configured"
    assert (model.quantisation, model.context_length, model.architecture) == ("Q4_1", 8192, "llama")
    assert 130e6 < model.parameters < 140e6


def test_models_are_found_in_the_folder_and_below(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, model_path=tiny_model(tmp_path / "own.gguf"), model_alias="mine")
    library = ModelLibrary(settings)
    assert names(library) == ["mine"]
    # When files are added, they are there at once
    tiny_model(tmp_path / "models" / "b.gguf")
    tiny_model(tmp_path / "models" / "sub" / "a.GGUF")
    assert names(library) == ["mine", "a", "b"]
    # And gone when they are removed
    (tmp_path / "models" / "b.gguf").unlink()
    assert names(library) == ["mine", "a"]
    found = library.find("a")
    assert found is not None and found.origin == "folder" and found.slug == "a"
    assert library.find("b") is None and library.problems == ()


def test_what_is_no_model_is_not_listed(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    tiny_model(folder / "mmproj-model-f16.gguf")
    tiny_model(folder / "eyes.gguf", {"general.architecture": text_field("clip")})
    tiny_model(folder / "lora.gguf", {"general.type": text_field("adapter")})
    tiny_model(folder / ".cache" / "half.gguf")
    (folder / "notes.txt").write_text("notes")
    library = ModelLibrary(settings_of(tmp_path))
    assert names(library) == [STARTER_NAME]
    assert library.problems == ()


def test_the_old_copy_of_the_starter_is_not_listed(tmp_path: Path) -> None:
    tiny_model(tmp_path / "data" / "models" / f"{STARTER_NAME}.Q8_0.gguf")
    library = ModelLibrary(load_settings(_env_file=None, data_dir=tmp_path / "data"))
    assert names(library) == [STARTER_NAME]


def test_the_configured_model_is_listed_once(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "models" / "own.gguf")
    (tmp_path / "link.gguf").symlink_to(path)
    [model] = ModelLibrary(settings_of(tmp_path, model_path=tmp_path / "link.gguf")).models()
    assert (model.name, model.origin) == ("link", "configured")


def test_a_split_model_is_one_model(tmp_path: Path) -> None:
    parts = split_model(tmp_path / "models", "large", 3)
    library = ModelLibrary(settings_of(tmp_path))
    model = library.find("large")
    assert model is not None and model.path == parts[0]
    assert model.bytes == sum(part.stat().st_size for part in parts)
    assert model.parameters == 3 * 64
    # Without one of its parts it is none, and the part is named
    parts[1].unlink()
    assert library.find("large") is None
    [problem] = library.problems
    assert str(parts[1]) in problem.message and "one of the 3 parts" in problem.message
    # And so is the first
    split_model(tmp_path / "models", "large", 3)[0].unlink()
    assert library.find("large") is None
    assert str(parts[0]) in library.problems[0].message


def test_parts_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    first, second, _ = split_model(tmp_path / "models", "large", 3)
    first.rename(tmp_path / "first")
    second.rename(first)
    (tmp_path / "first").rename(second)
    library = ModelLibrary(settings_of(tmp_path))
    assert library.find("large") is None
    assert "part 2 of 3" in library.problems[0].message


def test_a_broken_file_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    whole = tiny_model(folder / "whole.gguf").read_bytes()
    (folder / "half.gguf").write_bytes(whole[:-10])
    (folder / "page.gguf").write_text("<html>")
    library = ModelLibrary(settings_of(tmp_path, model_path=tmp_path / "gone.gguf"))
    assert names(library) == ["whole"]
    found = {problem.path.name: problem.message for problem in library.problems}
    assert "no such file" in found["gone.gguf"] and "MODEL_PATH" in found["gone.gguf"]
    assert f"it has {len(whole) - 10:,} of {len(whole):,} bytes" in found["half.gguf"]
    assert "not a GGUF file" in found["page.gguf"]
    # When the rest of it has been copied, it is a model
    (folder / "half.gguf").write_bytes(whole)
    assert names(library) == ["half", "whole"]


def test_two_files_of_one_name_are_both_unusable(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    one, other = tiny_model(folder / "a" / "Model.gguf"), tiny_model(folder / "b" / "model.gguf")
    tiny_model(folder / "c.gguf")
    library = ModelLibrary(settings_of(tmp_path))
    assert names(library) == [STARTER_NAME, "c"]
    assert {problem.path for problem in library.problems} == {one, other}
    for problem in library.problems:
        assert str(one) in problem.message and str(other) in problem.message


def test_the_configured_model_keeps_its_name(tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "models" / "own.gguf")
    library = ModelLibrary(settings_of(tmp_path, model_path=tiny_model(tmp_path / "own.gguf")))
    [model] = library.models()
    assert model.path == tmp_path / "own.gguf"
    assert [problem.path for problem in library.problems] == [other]


def test_pulled_models_know_their_repository(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "org" / "repo"
    tiny_model(folder / "Q4" / "pulled.gguf")
    tiny_model(folder / "copied.gguf")
    PullRecord.add(folder, "org/repo", {"Q4/pulled.gguf": "0" * 64})
    library = ModelLibrary(settings_of(tmp_path))
    pulled, copied = library.find("pulled"), library.find("copied")
    assert pulled is not None and (pulled.origin, pulled.repo) == ("pulled", "org/repo")
    assert copied is not None and (copied.origin, copied.repo) == ("folder", None)


def test_a_model_on_the_hub_is_not_listed_before_it_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    library = ModelLibrary(settings_of(tmp_path, model_repo_id="no/such", model_filename="m.gguf"))
    assert names(library) == [] and library.problems == ()
    assert library.configured_name == "m"


def test_links_that_lead_round_in_a_circle_end(tmp_path: Path) -> None:
    tiny_model(tmp_path / "models" / "sub" / "a.gguf")
    (tmp_path / "models" / "sub" / "up").symlink_to(tmp_path / "models")
    library = ModelLibrary(settings_of(tmp_path))
    assert names(library) == [STARTER_NAME, "a"] and library.problems == ()


def test_files_that_have_not_changed_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_model(tmp_path / "models" / "a.gguf")
    library = ModelLibrary(settings_of(tmp_path))
    before = names(library)
    read: list[Path] = []
    check = library_module.check_model_files
    monkeypatch.setattr(library_module, "check_model_files", lambda path: read.append(path) or check(path))
    assert names(library) == before and read == []
    tiny_model(path, weights=128)
    assert names(library) == before and read == [path]


def model_in(tmp_path: Path, path: Path) -> tuple[ModelLibrary, LibraryModel]:
    library = ModelLibrary(settings_of(tmp_path))
    model = library.find(path.stem.partition("-0")[0])
    assert model is not None
    return library, model


def test_a_digest_is_computed_once(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "models" / "a.gguf")
    library, model = model_in(tmp_path, path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert library.digest(model) == expected
    # When the same file is asked for again, by another process, what was kept is used
    kept = tmp_path / "data" / FILE_NAME
    entries = json.loads(kept.read_text())
    entries[str(path)][2] = "kept"
    kept.write_text(json.dumps(entries))
    assert ModelLibrary(settings_of(tmp_path)).digest(model) == "kept"
    # And a file that has changed has another
    os.utime(path, ns=(1, 1))
    assert library.digest(model) == expected
    kept.write_text("damaged")
    assert library.digest(model) == expected


def test_a_digest_that_cannot_be_kept_is_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tiny_model(tmp_path / "a.gguf")
    (tmp_path / "data").write_text("a file in the place of the folder, as a disk without room")
    digests = ModelDigests(load_settings(_env_file=None, data_dir=tmp_path / "data"))
    assert digests.digest(path) == digests.digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "cannot be kept" in caplog.text and sorted(tmp_path.iterdir()) == [path, tmp_path / "data"]


def test_there_are_so_many_models_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "MAX_MODELS", 2)
    for name in "abc":
        tiny_model(tmp_path / "models" / f"{name}.gguf")
    library = ModelLibrary(load_settings(_env_file=None, models_dir=tmp_path / "models"))
    assert [model.name for model in library.models() if model.origin == "folder"] == ["a", "b"]
    (problem,) = library.problems
    assert problem.path.name == "c.gguf" and "more than 2 models" in problem.message


def test_the_digest_of_a_split_model_is_that_of_all_its_parts(tmp_path: Path) -> None:
    parts = split_model(tmp_path / "models", "large", 2)
    library, model = model_in(tmp_path, parts[0])
    before = library.digest(model)
    ModelDigests(settings_of(tmp_path)).remember(parts[1], "0" * 64)
    assert library.digest(model) != before


def test_needed_memory_follows_the_header(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "models" / "a.gguf")
    _, model = model_in(tmp_path, path)
    cell = 16 * 8 * (64 + 64) * 2
    settings = settings_of(tmp_path, inference_slots=8)
    assert model.needed_bytes(settings) - 2 * cell * (2048 + 256) == model.wanted_bytes(settings) - 2 * cell * (
        2 * 16_384 + 256
    )
    # A given context, and a smaller cache, count
    given = settings_of(tmp_path, context_length=4096, inference_slots=1)
    assert given.context_length == 4096
    assert model.needed_bytes(given) == model.wanted_bytes(given)
    assert model.needed_bytes(settings_of(tmp_path, kv_cache_type="q8_0")) < model.needed_bytes(settings)
