"""The models on disk: the one that the settings name, and those in `MODELS_DIR`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import ConfigurationError
from core.models.digests import ModelDigests
from core.models.files import STARTER_NAME, check_model_files, configured_model, model_stem, parts_of
from core.models.gguf import GgufHeader
from core.models.names import model_slug
from core.models.needed_memory import needed_bytes, wanted_bytes
from core.models.pull_records import PullRecord
from core.settings import Settings

#: Files of a model that are no models by themselves: parts for pictures and sound, adapters, statistics.
_NO_MODEL_TYPES = frozenset({"mmproj", "adapter", "imatrix", "vocab"})
_NO_MODEL_ARCHITECTURES = frozenset({"clip"})
#: Where the converted starter model was until it got a folder of its own.
OLD_STARTER_COPY = Path("models") / f"{STARTER_NAME}.Q8_0.gguf"

#: Supervisors announce all models every two seconds, and the API reads that for each chat.
MAX_MODELS = 500

Origin = Literal["configured", "pulled", "folder"]
#: The size and the time of the last change of each part of a model.
_Version = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class LibraryModel:
    """A model whose files are there and whole."""

    name: str
    #: What queues and processes are named by; no two models of a library have the same.
    slug: str
    #: The first of its files.
    path: Path
    #: The size of all its files.
    bytes: int
    origin: Origin
    #: What the first file says of the model.
    header: GgufHeader
    #: Weights in all files.
    parameters: int
    #: The hub's repository from which it was pulled.
    repo: str | None = None
    is_starter: bool = False

    @property
    def context_length(self) -> int:
        """The context that the model was trained with, in tokens; 0 if it does not say."""
        return self.header.context_length

    @property
    def quantisation(self) -> str:
        return self.header.quantisation

    @property
    def architecture(self) -> str:
        return self.header.architecture

    @property
    def has_chat_template(self) -> bool:
        return self.header.has_chat_template

    def needed_bytes(self, settings: Settings) -> int:
        """Return the memory, in bytes, below which it cannot be loaded."""
        return needed_bytes(self.header, self.bytes, settings)

    def wanted_bytes(self, settings: Settings) -> int:
        """Return the memory, in bytes, with which it gets the context that it has on an empty machine."""
        return wanted_bytes(self.header, self.bytes, settings)


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used, or a folder that cannot be read, and why."""

    path: Path
    message: str


@dataclass(frozen=True)
class _Files:
    """What was found out about a model's files."""

    headers: tuple[GgufHeader, ...] = ()
    bytes: int = 0
    error: str = ""

    @property
    def is_no_model(self) -> bool:
        header = self.headers[0] if self.headers else None
        return header is not None and (header.type in _NO_MODEL_TYPES or header.architecture in _NO_MODEL_ARCHITECTURES)


class ModelLibrary:
    """Finds the models on disk. May be used from several threads.

    Every question looks at the folder anew; only files that have changed since the last one are read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._digests = ModelDigests(settings)
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[_Version, _Files]] = {}
        self._problems: tuple[Problem, ...] = ()
        #: The first files of all models that are whole, by their slugs, which several may share.
        self._paths: dict[str, list[Path]] = {}

    def models(self) -> list[LibraryModel]:
        """Return all usable models: the configured one first, then the others by their names."""
        with self._lock:
            found, problems = self._scan()
            self._problems = tuple(problems)
            return found

    def find(self, name: str) -> LibraryModel | None:
        """Return the usable model of this name, or None."""
        return next((model for model in self.models() if model.name == name), None)

    def named_alike(self, name: str) -> list[Path]:
        """Return the first files of all models that are whole and have this name, or one with the same slug."""
        self.models()
        return list(self._paths.get(model_slug(name), []))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The files that the last look at the folder found unusable."""
        return self._problems

    @property
    def configured_name(self) -> str:
        """The name of the model that the settings name, whether or not its file is there.

        Raises:
            ConfigurationError: nothing is configured, and there is no starter model.
        """
        return configured_model(self._settings).name

    def digest(self, model: LibraryModel) -> str:
        """Return the SHA-256 of a model's file; of a split one, that of the digests of its parts.

        Takes a second per GB at the first time.

        Raises:
            OSError: a file cannot be read, or the digest not be kept.
        """
        return self._digests.digest(model.path)

    def _scan(self) -> tuple[list[LibraryModel], list[Problem]]:
        problems: list[Problem] = []
        known: dict[Path, tuple[_Version, _Files]] = {}
        models = [*self._configured(known, problems.append)]
        own = {os.path.realpath(part) for model in models for part in parts_of(model.path)}
        paths = sorted(_first_files(self._settings, problems.append))
        for path in paths[MAX_MODELS:]:
            problems.append(Problem(path, f"{path}: MODELS_DIR has more than {MAX_MODELS} models, of which it is one."))
        for path in paths[:MAX_MODELS]:
            if os.path.realpath(path) in own:
                continue
            files = self._files(path, known)
            if files.error:
                problems.append(Problem(path, files.error))
            elif not files.is_no_model:
                models.append(_model(model_stem(path), path, files, "folder", self._repo(path)))
        self._known = known
        self._paths = {}
        for model in models:
            self._paths.setdefault(model.slug, []).append(model.path)
        return _without_clashes(models, problems.append), problems

    def _configured(
        self, known: dict[Path, tuple[_Version, _Files]], report: Callable[[Problem], None]
    ) -> Iterator[LibraryModel]:
        try:
            configured = configured_model(self._settings)
        except ConfigurationError as error:
            report(Problem(self._settings.models_path, str(error)))
            return
        if configured.path is None:
            return
        files = self._files(configured.path, known)
        if files.error:
            report(Problem(configured.path, f"{configured.setting}: {files.error}"))
            return
        repo = self._repo(configured.path) or self._settings.model_repo_id
        yield _model(configured.name, configured.path, files, "configured", repo, configured.is_starter)

    def _files(self, path: Path, known: dict[Path, tuple[_Version, _Files]]) -> _Files:
        """Return what is known of a model's files; read them if one has changed."""
        version = _version(path)
        before = self._known.get(path)
        files = before[1] if before is not None and before[0] == version else _read(path)
        known[path] = version, files
        return files

    def _repo(self, path: Path) -> str | None:
        """Return the repository from which a file in `MODELS_DIR/OWNER/REPOSITORY` was pulled, or None."""
        try:
            names = path.relative_to(self._settings.models_path).parts
        except ValueError:
            return None
        if len(names) < 3:
            return None
        record = PullRecord.read(self._settings.models_path.joinpath(*names[:2]))
        return record.repo if record is not None and "/".join(names[2:]) in record.files else None


def _model(
    name: str, path: Path, files: _Files, origin: Origin, repo: str | None, is_starter: bool = False
) -> LibraryModel:
    return LibraryModel(
        name=name,
        slug=model_slug(name),
        path=path,
        bytes=files.bytes,
        origin="pulled" if repo is not None and origin == "folder" else origin,
        header=files.headers[0],
        parameters=sum(header.parameters for header in files.headers),
        repo=repo,
        is_starter=is_starter,
    )


def _read(path: Path) -> _Files:
    try:
        headers = check_model_files(path)
        return _Files(tuple(headers), sum(part.stat().st_size for part in parts_of(path)))
    except (ConfigurationError, OSError) as error:
        return _Files(error=str(error))


def _version(path: Path) -> _Version:
    version = []
    for part in parts_of(path):
        try:
            stat = part.stat()
        except OSError:
            version.append((-1, 0))
            break
        version.append((stat.st_size, stat.st_mtime_ns))
    return tuple(version)


def _without_clashes(models: list[LibraryModel], report: Callable[[Problem], None]) -> list[LibraryModel]:
    """Return the models whose names no other has. The configured one, which comes first, keeps its name."""
    named: dict[str, list[LibraryModel]] = {}
    for model in models:
        named.setdefault(model.slug, []).append(model)
    usable = []
    for same in named.values():
        kept = same[:1] if len(same) == 1 or same[0].origin == "configured" else []
        usable += kept
        for model in same[len(kept) :]:
            others = ", ".join(str(other.path) for other in same if other is not model)
            message = f"The name {model.name!r} of {model.path} is that of {others} too: rename one of them."
            report(Problem(model.path, message))
    configured = [model for model in usable if model.origin == "configured"]
    rest = [model for model in usable if model.origin != "configured"]
    return configured + sorted(rest, key=lambda model: model.name)


def _first_files(settings: Settings, report: Callable[[Problem], None]) -> set[Path]:
    """Return the first file of each model in `MODELS_DIR` and the folders in it, followed through links."""

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            report(Problem(Path(error.filename or settings.models_path), f"{error.filename}: {error.strerror}."))

    found, seen = set(), set()
    for folder, folders, names in os.walk(settings.models_path, onerror=unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [Path(folder, name) for name in names if _is_named_as_model(name)]
        found |= {parts_of(path)[0] for path in files}
    return found - {settings.state_dir / OLD_STARTER_COPY}


def _is_named_as_model(name: str) -> bool:
    return name.lower().endswith(".gguf") and not name.startswith(".") and not name.lower().startswith("mmproj")
