"""A body of very many values is refused before anything is made of them, and one wrong item is reported, not all."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from api import body_bounds, json_bodies
from api.dependencies import Services
from api.schemas.base import WireRequest
from api.schemas.chat import ChatRequest
from api.schemas.rag import SearchRequest, TextsRequest
from tests.unit.api.test_errors import CHAT, JSON, error_of

MESSAGE = {"role": "user", "content": "Hello"}
ODD_TEXTS = ("", "a", ",", '"', "\\", '\\"', "[{,", '"]', "\\\\", "é", "\n")


def sizes(value: Any) -> tuple[int, int, int]:
    """Return how many containers, texts and separated values there are."""
    if isinstance(value, str):
        return 0, 1, 0
    if not isinstance(value, dict | list):
        return 0, 0, 0
    children = [*value.values(), *value] if isinstance(value, dict) else value
    inner = [sizes(child) for child in children]
    containers, texts, commas = (sum(column) for column in zip(*inner, strict=True)) if inner else (0, 0, 0)
    return containers + 1, texts, commas + max(0, len(value) - 1)


def any_value(dice: random.Random, depth: int = 4) -> Any:
    kind = dice.randrange(5 if depth else 2)
    if kind == 0:
        return dice.choice([1, -2.5, None, True])
    if kind == 1:
        return "".join(dice.choices(ODD_TEXTS, k=dice.randrange(6)))
    children = [any_value(dice, depth - 1) for _ in range(dice.randrange(5))]
    return children if kind < 4 else {any_text(dice): child for child in children}


def any_text(dice: random.Random) -> str:
    return "".join(dice.choices(ODD_TEXTS, k=4))


@pytest.mark.parametrize("seed", range(40))
async def test_values_are_counted_wherever_the_body_is_divided(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    value = [any_value(dice) for _ in range(20)]
    body = json.dumps(value, ensure_ascii=bool(seed % 2)).encode()
    containers, texts, commas = sizes(value)
    for size in (1, 2, 7, 4096):
        monkeypatch.setattr(body_bounds, "PIECE_BYTES", size)
        monkeypatch.setattr(body_bounds, "MAX_CONTAINERS", containers)
        monkeypatch.setattr(body_bounds, "MAX_TEXTS", texts)
        monkeypatch.setattr(body_bounds, "MAX_VALUES", commas + 1)
        await body_bounds.check_values(body)
        for limit, least in (("MAX_CONTAINERS", containers), ("MAX_TEXTS", texts), ("MAX_VALUES", commas + 1)):
            with monkeypatch.context() as lower:
                lower.setattr(body_bounds, limit, least - 1)
                with pytest.raises(HTTPException, match=f"{least - 1:,}"):
                    await body_bounds.check_values(body)


@pytest.mark.parametrize(
    ("limit", "extra", "named"),
    [
        ("MAX_CONTAINERS", [{}] * 101, "100 objects and lists"),
        ("MAX_TEXTS", ["a"] * 101, "100 texts"),
        ("MAX_VALUES", [1] * 101, "100 values"),
    ],
)
async def test_a_body_of_too_many_values_is_refused_before_it_is_decoded(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, limit: str, extra: list[Any], named: str
) -> None:
    monkeypatch.setattr(json_bodies, "UNCOUNTED_BYTES", 0)
    monkeypatch.setattr(body_bounds, limit, 100)
    decoded: list[bytes] = []
    monkeypatch.setattr(json_bodies, "_decoded", decoded.append)
    body = json.dumps({"messages": [MESSAGE], "metadata": extra}).encode()
    assert named in error_of(await http.post(CHAT, content=body, headers=JSON), 400)["message"]
    assert not decoded


def test_no_body_is_left_uncounted_that_could_have_too_many_values() -> None:
    # The shortest texts of so many containers, of so many texts, and of so many values.
    least = min(body_bounds.MAX_CONTAINERS, 2 * body_bounds.MAX_TEXTS, body_bounds.MAX_VALUES)
    assert least >= body_bounds.UNCOUNTED_BYTES


async def test_a_large_body_waits_for_its_turn_and_a_small_one_does_not(
    http: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_bodies, "UNCOUNTED_BYTES", 1000)
    decoded: list[int] = []
    decode = json_bodies._decoded
    monkeypatch.setattr(json_bodies, "_decoded", lambda body: decoded.append(len(body)) or decode(body))
    small, large = ({"messages": [{"role": "user", "content": "a" * size}]} for size in (10, 2000))
    async with services.large_bodies:
        waiting = asyncio.create_task(http.post(CHAT, json=large))
        assert (await http.post(CHAT, json=small)).status_code == 200
        assert max(decoded) < 1000
    assert (await waiting).status_code == 200
    assert max(decoded) > 2000


async def test_text_that_looks_like_values_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_bounds, "PIECE_BYTES", 1000)
    text = '[{"a": "b", "c": [1, 2]}],' * 20_000
    await body_bounds.check_values(json.dumps({"messages": [{"role": "user", "content": text}]}).encode())


def lists_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the lists of a core schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            yield schema
        for inner in schema.values():
            yield from lists_of(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from lists_of(inner)


def models() -> Iterator[type[WireRequest]]:
    """Yield all models of requests."""
    waiting = WireRequest.__subclasses__()
    while waiting:
        model = waiting.pop()
        yield model
        waiting += model.__subclasses__()


def test_every_list_of_every_request_is_validated_up_to_its_first_wrong_item() -> None:
    found = [one for model in models() for one in lists_of(model.__pydantic_core_schema__)]
    assert len(found) > 20
    assert all(one.get("fail_fast") for one in found)


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        (ChatRequest, {"messages": [MESSAGE], "stop": [1] * 5000}, "stop"),
        (ChatRequest, {"messages": [{"role": "nobody"}] * 4000}, "messages"),
        (TextsRequest, {"texts": [1] * 900}, "texts"),
        (TextsRequest, {"texts": ["a"], "metadata": [{}] * 5000}, "metadata"),
        (SearchRequest, {"query": "a", "collections": [1] * 5000}, "collections"),
    ],
)
def test_few_errors_are_made_of_many_wrong_items(model: type[WireRequest], body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(body)
    assert raised.value.error_count() <= 3
    assert raised.value.errors()[0]["loc"][0] == field
