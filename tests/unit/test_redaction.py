"""Messages without the secrets that they quote."""

from __future__ import annotations

import pytest

from core.redaction import redacted


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("no route to host", "no route to host"),
        ('connection to "postgresql://u:p@h:5432/d" failed', 'connection to "postgresql://***@h:5432/d" failed'),
        ("cannot resolve p@ss@h", "cannot resolve ***@h"),
        ("the password is swordfish, or sword%66ish", "the password is ***, or sword%66ish"),
    ],
)
def test_passwords_are_hidden(message: str, shown: str) -> None:
    assert redacted(message, "swordfish", None, "") == shown
