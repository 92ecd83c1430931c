"""Finds the files of a model on the Hugging Face hub, or on the mirror that HF_ENDPOINT names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import InvalidRequest, LlmApiError, NotFound, PermissionDenied, Unavailable
from core.models.files import model_stem, parts_of

#: What is pulled if a reference names neither a file nor a quantisation.
DEFAULT_QUANTISATION = "Q4_K_M"
HUB_UNAVAILABLE = "hub_unavailable"
#: A hub that is silent for this long does not answer.
TIMEOUT_SECONDS = 10.0

_REFERENCE = re.compile(
    r"(?:https?://)?(?:(?:www\.)?(?:huggingface\.co|hf\.co)/)?"
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?::(?P<choice>[^:\x00-\x1f\\]{1,200}))?",
    re.ASCII,
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Reference:
    """What to pull: `REPO`, `REPO:FILE` or `REPO:QUANT`."""

    repo: str
    choice: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the parts of a reference. The hub's address may precede it.

        Raises:
            InvalidRequest: it has another form; the message says which are allowed.
        """
        found = _REFERENCE.fullmatch(text.strip())
        if found is None or ".." in text or found["repo"].endswith((".git", "/", ".")):
            raise InvalidRequest(
                f"{text[:200]!r} does not name a model on the hub: write OWNER/REPOSITORY, OWNER/REPOSITORY:FILE or "
                f"OWNER/REPOSITORY:QUANTISATION, such as Qwen/Qwen3-4B-GGUF:{DEFAULT_QUANTISATION}.",
                param="model",
            )
        return cls(found["repo"], found["choice"])

    def __str__(self) -> str:
        return f"{self.repo}:{self.choice}" if self.choice else self.repo


@dataclass(frozen=True)
class RemoteFile:
    """A file in a repository. `path` is its path there, with `/`."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class RemoteModel:
    """The files of a model on the hub, in the order of its parts."""

    repo: str
    #: The commit from which all files are taken.
    revision: str
    files: tuple[RemoteFile, ...]

    @property
    def name(self) -> str:
        """The name that the model gets in the library."""
        return model_stem(Path(self.files[0].path))

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def find_model(reference: Reference) -> RemoteModel:
    """Ask the hub for the files that a reference means.

    Raises:
        NotFound: there is no such repository, or no such file in it; the message lists what there is.
        InvalidRequest: the repository has several models, and the reference does not say which.
        PermissionDenied: the repository asks for permission.
        Unavailable: the hub cannot be reached, or what answers is not the hub.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        info = api.model_info(reference.repo, files_metadata=True, timeout=TIMEOUT_SECONDS)
        revision, siblings = str(info.sha or ""), list(info.siblings or [])
    except Exception as error:  # the client raises errors of its own, of httpx, and of what a wrong answer breaks
        raise _refused(error, reference, api.endpoint) from error
    if not revision:
        raise no_hub(api.endpoint, "it names no commit of the repository")
    known = {str(one.rfilename): one for one in siblings if _is_model_file(str(one.rfilename))}
    chosen = choose_files(reference, list(known))
    return RemoteModel(
        reference.repo, revision, tuple(_remote_file(path, known[path], api.endpoint) for path in chosen)
    )


def choose_files(reference: Reference, paths: Sequence[str]) -> list[str]:
    """Return the paths of all parts of the model that a reference means, among those of a repository's GGUF files.

    Raises:
        NotFound: there is no such model, or a part of it is missing.
        InvalidRequest: several models fit.
    """
    models = _models(paths)
    if not models:
        raise NotFound(f"{reference.repo} has no GGUF files: most models have a …-GGUF twin.", param="model")
    fitting = [first for first in models if _fits(first, models[first], reference.choice or DEFAULT_QUANTISATION)]
    if not reference.choice and not fitting:
        fitting = list(models)
    there = ", ".join(sorted(models))
    if not fitting:
        raise NotFound(f"{reference.repo} has no {reference.choice!r}. It has: {there}.", param="model")
    if len(fitting) > 1:
        raise InvalidRequest(
            f"{reference.repo} has several models that {reference} may mean: name one as {reference.repo}:FILE. "
            f"They are: {', '.join(sorted(fitting))}.",
            param="model",
        )
    parts = [part.as_posix() for part in parts_of(Path(fitting[0]))]
    missing = set(parts) - set(paths)
    if missing:
        raise NotFound(f"{reference.repo} lacks parts of {fitting[0]}: {', '.join(sorted(missing))}.", param="model")
    return parts


def no_hub(endpoint: str, why: str) -> Unavailable:
    """Return the error for an answer that the hub would not give."""
    return Unavailable(
        f"What answers at {endpoint} is not the Hugging Face hub: {why}. Check HF_ENDPOINT, the proxy and the network.",
        code=HUB_UNAVAILABLE,
    )


def needs_permission(repo: str) -> PermissionDenied:
    """Return the error for a repository that asks for permission."""
    return PermissionDenied(
        f"The repository {repo} asks for permission: accept its terms on the hub and set HF_TOKEN.", param="model"
    )


def _models(paths: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the files of each model, by the path of the first."""
    models: dict[str, list[str]] = {}
    for path in paths:
        models.setdefault(parts_of(Path(path))[0].as_posix(), []).append(path)
    return models


def _fits(first: str, paths: Sequence[str], choice: str) -> bool:
    """Return whether a choice names one of a model's files, with or without `.gguf`, or its quantisation."""
    wanted = choice.removesuffix(".gguf").lower()
    for path in paths:
        stem = path.lower().removesuffix(".gguf")
        if wanted in (stem, PurePosixPath(stem).name, model_stem(Path(path)).lower()):
            return True
    quantisation = rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])"
    return "." not in choice and re.search(quantisation, first.lower()) is not None


def _is_model_file(path: str) -> bool:
    name = PurePosixPath(path).name.lower()
    return name.endswith(".gguf") and "mmproj" not in name and "imatrix" not in name


def _remote_file(path: str, entry: Any, endpoint: str) -> RemoteFile:
    if any(part in ("", ".", "..") or part.startswith(".") for part in path.split("/")) or "\\" in path:
        raise no_hub(endpoint, f"it has a file named {path!r}")
    digest = str(entry.lfs.sha256 if entry.lfs is not None else "").lower()
    if not _SHA256.fullmatch(digest) or not isinstance(entry.size, int) or entry.size <= 0:
        raise no_hub(endpoint, f"it names no size and no SHA-256 of {path}, so the file could not be verified")
    return RemoteFile(path, entry.size, digest)


def _refused(error: Exception, reference: Reference, endpoint: str) -> LlmApiError:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return needs_permission(reference.repo)
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return NotFound(
            f"There is no public repository {reference.repo} at {endpoint}. For a private one, set HF_TOKEN.",
            param="model",
        )
    if isinstance(error, HfHubHTTPError):
        return Unavailable(
            f"The hub at {endpoint} answers with status {error.response.status_code}. Try again later.",
            code=HUB_UNAVAILABLE,
        )
    if isinstance(error, ValueError | TypeError | KeyError | AttributeError):
        return no_hub(endpoint, "its answer is not that of the hub's API")
    return Unavailable(f"The hub at {endpoint} cannot be reached ({error}).", code=HUB_UNAVAILABLE)
