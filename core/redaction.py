"""Messages of other programs without the secrets that they quote, such as the password in a URL."""

from __future__ import annotations

HIDDEN = "***"


def redacted(message: object, *secrets: str | None) -> str:
    """Return a message without these secrets, and without the user and the password of URLs and addresses."""
    text = str(message)
    for secret in secrets:
        text = text.replace(secret, HIDDEN) if secret else text
    return " ".join(map(_without_user, text.split(" ")))


def _without_user(word: str) -> str:
    before, at, host = word.rpartition("@")
    if not at:
        return word
    scheme, separator, _ = before.partition("://")
    return f"{scheme}{separator}{HIDDEN}@{host}" if separator else f"{HIDDEN}@{host}"
