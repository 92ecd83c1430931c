"""File names converted to text and back."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog import to_os, to_text


@given(st.binary())
def test_every_name_survives_the_conversion(name: bytes) -> None:
    path = os.fsdecode(name)
    text = to_text(path)
    text.encode()
    assert to_os(text) == path


@pytest.mark.parametrize("name", ["a.txt", "Größe/日本.pdf", "\uef80", "\uef80\udcff", "caf\udce9"])
def test_ordinary_and_odd_names_survive_the_conversion(name: str) -> None:
    assert to_os(to_text(name)) == name
    if max(name) < "\udc80":
        assert to_text(name) == name
