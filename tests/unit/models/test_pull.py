"""Pulling models from a server that speaks the hub's protocol: breaks, wrong answers, full disks, cancellation."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Conflict, InvalidRequest, LlmApiError, NotFound, PermissionDenied, StorageFull, Unavailable
from core.models import download, pull
from core.models.digests import ModelDigests
from core.models.hub import Reference
from core.models.library import ModelLibrary
from core.models.pull import Pulled, PullStopped, pull_model, remove_old_partial_files
from core.models.removal import remove_model
from core.settings import Settings, load_settings
from tests.fakes.hub import Hub, running_hub
from tests.gguf_files import number_field, tiny_model
from tests.support import SmallDisk, wait_until

REPO = "org/tiny-GGUF"
#: Of a file: large enough for several pieces.
WEIGHTS = 25_000


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return tiny_model(tmp_path / "source" / "Tiny-Q4_K_M.gguf", weights=WEIGHTS).read_bytes()


@pytest.fixture
def hub(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    split = {"split.count": number_field(2)}
    parts = {
        f"BF16/Tiny-BF16-0000{number + 1}-of-00002.gguf": tiny_model(
            tmp_path / "source" / f"part{number}", split | {"split.no": number_field(number)}, weights=WEIGHTS
        ).read_bytes()
        for number in range(2)
    }
    files = {"Tiny-Q4_K_M.gguf": content, "Tiny-Q8_0.gguf": content[:-4] + b"\1\1\1\1", "README.md": b"# Tiny", **parts}
    with running_hub({REPO: files, "org/broken": {"broken.gguf": b"GGUF, but no more"}}) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr(download, "RETRY_SECONDS", (0.0, 0.0))
        yield hub


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


def settings_of(tmp_path: Path, **values: object) -> Settings:
    given = {"data_dir": tmp_path / "data", "models_dir": tmp_path / "models", "min_free_bytes": 0} | values
    return load_settings(_env_file=None, **given)


def pulled(settings: Settings, choice: str | None = None, stop: threading.Event | None = None) -> Pulled:
    return pull_model(Reference(REPO, choice), settings, lambda done, total: None, stop or threading.Event())


def left_behind(settings: Settings) -> list[str]:
    folder = settings.models_path / REPO / pull.PARTIAL_FOLDER
    return sorted(path.name for path in folder.glob("*"))


def test_a_pulled_model_is_in_the_library_and_verified(hub: Hub, settings: Settings, content: bytes) -> None:
    progress: list[tuple[int, int]] = []
    result = pull_model(
        Reference(REPO), settings, lambda done, total: progress.append((done, total)), threading.Event()
    )
    assert (result.name, result.bytes, result.files) == ("Tiny-Q4_K_M", len(content), ("Tiny-Q4_K_M.gguf",))
    assert result.path.read_bytes() == content
    assert progress[-1] == (len(content), len(content)) and progress == sorted(progress)
    library = ModelLibrary(settings)
    model = library.find("Tiny-Q4_K_M")
    assert model is not None and (model.origin, model.repo, model.path) == ("pulled", REPO, result.path)
    # Its digest is known without reading it, and nothing else is left
    assert library.digest(model) == hashlib.sha256(content).hexdigest() and left_behind(settings) == []
    # And pulled again, nothing is downloaded
    hub.sent.clear()
    assert pulled(settings) == result and hub.sent == []


def test_a_download_that_breaks_goes_on_where_it_has_stopped(hub: Hub, settings: Settings, content: bytes) -> None:
    hub.breaks = [30_000, 20_000]
    assert pulled(settings).path.read_bytes() == content
    assert hub.sent == [
        ("Tiny-Q4_K_M.gguf", 0, 30_000),
        ("Tiny-Q4_K_M.gguf", 30_000, 50_000),
        ("Tiny-Q4_K_M.gguf", 50_000, len(content)),
    ]


def test_a_later_attempt_goes_on_where_the_former_has_stopped(hub: Hub, settings: Settings, content: bytes) -> None:
    # Given a hub that breaks off more often than is tried in a row, without a byte
    hub.breaks = [30_000, 0, 0]
    with pytest.raises(Unavailable, match="broke 3 times in a row") as caught:
        pulled(settings)
    assert caught.value.code == "hub_unavailable" and len(left_behind(settings)) == 1
    assert ModelLibrary(settings).find("Tiny-Q4_K_M") is None
    # When it is pulled again, only the rest is sent
    hub.sent.clear()
    assert pulled(settings).path.read_bytes() == content
    assert [(start, end) for _, start, end in hub.sent] == [(30_000, len(content))]


def test_a_hub_without_ranges_sends_all_again(hub: Hub, settings: Settings, content: bytes) -> None:
    hub.has_ranges, hub.breaks = False, [30_000]
    assert pulled(settings).path.read_bytes() == content


def test_a_wrong_checksum_removes_the_file(hub: Hub, settings: Settings) -> None:
    hub.wrong_checksums = {"Tiny-Q4_K_M.gguf"}
    with pytest.raises(Unavailable, match=r"Tiny-Q4_K_M\.gguf .* another SHA-256 .* removed") as caught:
        pulled(settings)
    assert caught.value.code == "wrong_checksum"
    assert left_behind(settings) == [] and not (settings.models_path / REPO).exists()


def test_a_file_that_is_no_model_is_removed(hub: Hub, settings: Settings) -> None:
    with pytest.raises(InvalidRequest, match=r"broken\.gguf cannot be used, so it has been removed: .*version"):
        pull_model(Reference("org/broken"), settings, lambda done, total: None, threading.Event())
    assert not settings.models_path.joinpath("org").exists()


def test_a_split_model_is_pulled_whole(hub: Hub, settings: Settings) -> None:
    # Given a break within the second part
    hub.breaks = [10**9, 30_000, 0, 0]
    with pytest.raises(Unavailable):
        pulled(settings, "BF16")
    # Then nothing of it is seen
    library = ModelLibrary(settings)
    assert library.find("Tiny-BF16") is None and library.problems == ()
    # And the first part is not sent again
    hub.sent.clear()
    result = pulled(settings, "BF16")
    assert [(path[-20:], start) for path, start, _ in hub.sent] == [("-00002-of-00002.gguf", 30_000)]
    model = ModelLibrary(settings).find("Tiny-BF16")
    assert model is not None and model.path == result.path and model.bytes == result.bytes and model.repo == REPO


def test_the_disk_is_asked_first(hub: Hub, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, min_free_bytes=2**60)
    with pytest.raises(
        StorageFull, match=r"disk of MODELS_DIR has [\d,]+ bytes free, but [\d,]+ more .*MIN_FREE_BYTES"
    ):
        pulled(settings)
    assert hub.sent == [] and not settings.models_path.joinpath("org").exists()


def test_a_disk_that_becomes_full_keeps_what_is_there(
    hub: Hub, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(tmp_path / "models", 2**20)
    if reason := disk.mount():
        pytest.skip(f"no file system can be mounted here: {reason}")
    try:
        settings = settings_of(tmp_path)
        disk.fill(leave_bytes=50_000)
        # Given a disk that is filled by others after it was asked
        with monkeypatch.context() as patched:
            patched.setattr(pull.DiskSpace, "require", lambda self, new_bytes: None)
            with pytest.raises(StorageFull, match="What was downloaded is kept"):
                pulled(settings)
        disk.free()
        hub.sent.clear()
        assert pulled(settings).path.read_bytes() == content
        assert hub.sent[0][1] > 0
    finally:
        disk.unmount()


def test_a_pull_that_is_stopped_keeps_what_is_there(hub: Hub, settings: Settings, content: bytes) -> None:
    hub.hold, stop = threading.Event(), threading.Event()
    stopped: list[bool] = []

    def run() -> None:
        try:
            pulled(settings, stop=stop)
        except PullStopped:
            stopped.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    assert hub.is_held.wait(10)
    stop.set()
    hub.hold.set()
    thread.join(10)
    assert stopped == [True] and len(left_behind(settings)) == 1
    hub.sent.clear()
    assert pulled(settings).path.read_bytes() == content
    assert hub.sent[0][1] > 0


def test_two_models_are_pulled_at_once_and_one_only_once(hub: Hub, settings: Settings) -> None:
    hub.hold = threading.Event()
    results: list[Pulled] = []
    thread = threading.Thread(target=lambda: results.append(pulled(settings)))
    thread.start()
    assert hub.is_held.wait(10)
    # When the same model is pulled meanwhile, it is said
    with pytest.raises(Conflict, match="'Tiny-Q4_K_M' is being pulled already"):
        pulled(settings)
    # And another of the same repository is pulled beside it
    others: list[Pulled] = []
    other = threading.Thread(target=lambda: others.append(pulled(settings, "Q8_0")))
    other.start()
    wait_until(lambda: len({path for path, _, _ in hub.sent}) == 2, 10, "the other download")
    hub.hold.set()
    thread.join(10)
    other.join(10)
    assert [one.name for one in results + others] == ["Tiny-Q4_K_M", "Tiny-Q8_0"]
    assert {"Tiny-Q4_K_M", "Tiny-Q8_0"} <= {model.name for model in ModelLibrary(settings).models()}
    assert {model.repo for model in ModelLibrary(settings).models() if model.origin == "pulled"} == {REPO}


def test_a_name_that_another_model_has_is_refused_before_the_download(hub: Hub, settings: Settings) -> None:
    other = tiny_model(settings.models_path / "tiny-q4_k_m.gguf")
    with pytest.raises(Conflict, match=rf"'Tiny-Q4_K_M' is that of another model here \({other}\)"):
        pulled(settings)
    # And so is a file of somebody else in the place of the model
    other.unlink()
    tiny_model(settings.models_path / REPO / "Tiny-Q4_K_M.gguf")
    with pytest.raises(Conflict, match="is there and is not the hub's file"):
        pulled(settings)
    assert hub.sent == []


def test_a_file_that_was_copied_is_taken_as_it_is(hub: Hub, settings: Settings, content: bytes) -> None:
    target = settings.models_path / REPO / "Tiny-Q4_K_M.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    assert pulled(settings).path == target and hub.sent == []


def test_a_new_version_replaces_the_former(hub: Hub, settings: Settings, content: bytes) -> None:
    pulled(settings)
    hub.repositories[REPO]["Tiny-Q4_K_M.gguf"] = new = content[:-4] + b"\2\2\2\2"
    path = pulled(settings).path
    assert path.read_bytes() == new
    assert ModelDigests(settings).digest(path) == hashlib.sha256(new).hexdigest()


@pytest.mark.parametrize(
    ("repo", "error", "message"),
    [
        ("org/none", NotFound, "no public repository org/none"),
        (f"{REPO}:Q2_K", NotFound, r"has no 'Q2_K'. It has: .*Tiny-Q4_K_M\.gguf"),
        ("org/gated", PermissionDenied, "accept its terms on the hub and set HF_TOKEN"),
    ],
)
def test_what_the_hub_does_not_have_is_said(
    hub: Hub, settings: Settings, repo: str, error: type[LlmApiError], message: str
) -> None:
    hub.gated = {"org/gated"}
    with pytest.raises(error, match=message):
        pull_model(Reference.parse(repo), settings, lambda done, total: None, threading.Event())


def test_a_page_instead_of_the_hub_is_recognised(hub: Hub, settings: Settings) -> None:
    hub.is_html = True
    with pytest.raises(Unavailable, match="is not the Hugging Face hub: its answer is not that of the hub's API"):
        pulled(settings)
    hub.is_html, hub.files_are_html = False, True
    with pytest.raises(Unavailable, match="it answers with status 200, text/html"):
        pulled(settings)
    assert left_behind(settings) != [] and ModelLibrary(settings).find("Tiny-Q4_K_M") is None


def test_a_path_that_leaves_the_folder_is_refused(hub: Hub, settings: Settings, content: bytes) -> None:
    hub.repositories["org/evil"] = {"../../evil.gguf": content}
    with pytest.raises(Unavailable, match=r"it has a file named '\.\./\.\./evil\.gguf'"):
        pull_model(Reference("org/evil"), settings, lambda done, total: None, threading.Event())


def test_no_hub_at_all_is_said(hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"The hub at http://127\.0\.0\.1:9 cannot be reached"):
        pulled(settings)


def test_the_token_goes_to_the_hub(hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pulled(settings)
    assert hub.tokens[f"/api/models/{REPO}"] == "Bearer hf_secret"


def test_old_partial_files_are_removed(hub: Hub, settings: Settings) -> None:
    hub.breaks = [30_000, 0, 0]
    with pytest.raises(Unavailable):
        pulled(settings)
    remove_old_partial_files(settings, 3600)
    assert len(left_behind(settings)) == 1
    remove_old_partial_files(settings, -1)
    assert not settings.models_path.joinpath("org").exists()


def test_a_model_is_removed_with_what_is_known_of_it(hub: Hub, settings: Settings) -> None:
    pulled(settings)
    pulled(settings, "BF16")
    library = ModelLibrary(settings)
    assert remove_model("Tiny-BF16", library, settings).repo == REPO
    assert library.find("Tiny-BF16") is None and library.find("Tiny-Q4_K_M") is not None
    assert library.problems == ()
    remove_model("Tiny-Q4_K_M", library, settings)
    assert not settings.models_path.joinpath("org").exists()
    with pytest.raises(NotFound, match="There is no model 'Tiny-Q4_K_M'"):
        remove_model("Tiny-Q4_K_M", library, settings)


def test_models_that_are_not_the_library_s_own_are_not_removed(settings: Settings, tmp_path: Path) -> None:
    own = tiny_model(tmp_path / "own.gguf")
    (settings.models_path).mkdir(parents=True)
    (settings.models_path / "linked.gguf").symlink_to(tiny_model(tmp_path / "elsewhere" / "linked.gguf"))
    settings = settings_of(tmp_path, model_path=own)
    library = ModelLibrary(settings)
    with pytest.raises(Conflict, match="The settings name 'own'"):
        remove_model("own", library, settings)
    with pytest.raises(Conflict, match="is not in MODELS_DIR"):
        remove_model("linked", library, settings)
    with pytest.raises(InvalidRequest):
        remove_model("../own", library, settings)
    assert own.exists()
