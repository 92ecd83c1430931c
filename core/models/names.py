"""The names of models: which are allowed, and what they are called where only few characters are."""

from __future__ import annotations

import hashlib
import re

from core.errors import InvalidRequest

MAX_NAME_CHARACTERS = 200
MAX_SLUG_CHARACTERS = 64

_HASH_CHARACTERS = 8
_NOT_IN_SLUGS = re.compile(r"[^a-z0-9.-]")
_NO_MODEL_NAME = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029]|\.\.")


def model_slug(name: str) -> str:
    """Return the name of a model in lower-case letters, digits, `.` and `-`, at most 64 characters.

    Queues (`inference.SLUG`) and processes (`inference-SLUG`) are named by it. A name that is shortened, or of which
    nothing is left, gets a hash of the name. Other names may have the same slug: the library refuses such models.
    """
    slug = _NOT_IN_SLUGS.sub("-", name.lower()).strip("-.")
    if slug and len(slug) <= MAX_SLUG_CHARACTERS:
        return slug
    digest = hashlib.sha256(name.encode("utf-8", errors="surrogatepass")).hexdigest()[:_HASH_CHARACTERS]
    return f"{slug[: MAX_SLUG_CHARACTERS - _HASH_CHARACTERS - 1]}-{digest}".lstrip("-")


def check_model_name(name: str) -> None:
    """Check the name of a model that a request acts on.

    Raises:
        InvalidRequest: the name is empty, too long, or has a path in it; the message says what is allowed.
    """
    if not name.strip() or len(name) > MAX_NAME_CHARACTERS or _NO_MODEL_NAME.search(name):
        raise InvalidRequest(
            f"{name[:MAX_NAME_CHARACTERS]!r} is not the name of a model: names have 1 to {MAX_NAME_CHARACTERS} "
            "characters, without `/`, `\\`, `..` and control characters. GET /v1/models lists them.",
            param="model",
        )
