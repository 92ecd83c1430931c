"""Which language models are started and stopped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.model_policy import ModelUse, Plan, plan

GB = 10**9


def running(slug: str, size: int = 4, idle: float = 100.0, **fields: Any) -> ModelUse:
    return ModelUse(slug, size * GB, "running", idle_seconds=idle, **fields)


def wanted(slug: str, size: int = 4, **fields: Any) -> ModelUse:
    return ModelUse(slug, size * GB, "stopped", is_wanted=True, **fields)


def test_a_model_that_is_wanted_is_started_beside_the_others_where_it_fits() -> None:
    assert plan([running("a"), wanted("b")], 8 * GB, 1800) == Plan(start=["b"])
    assert plan([running("a"), ModelUse("b", GB, "stopped")], 8 * GB, 1800) == Plan()


def test_the_least_recently_used_is_stopped_and_the_next_is_started_once_it_has_ended() -> None:
    models = [running("old", idle=900), running("new", idle=5), wanted("next")]
    assert plan(models, 8 * GB, 1800) == Plan(stop=["old"])
    stopping = [ModelUse("old", 4 * GB, "stopping"), running("new", idle=5), wanted("next")]
    assert plan(stopping, 8 * GB, 1800) == Plan(), "one that ends keeps its memory until then"
    assert plan([ModelUse("old", 4 * GB, "stopped"), *models[1:]], 8 * GB, 1800) == Plan(start=["next"])


def test_one_that_answers_is_not_stopped_for_another_and_nothing_is_stopped_in_vain() -> None:
    assert plan([running("a", is_busy=True), wanted("b")], 4 * GB, 1800) == Plan()
    models = [running("busy", is_busy=True), running("idle", 1), wanted("b", 4)]
    assert plan(models, 6 * GB, 1800) == Plan(), "even without the idle one there is no room"
    assert plan([running("default", is_default=True), wanted("b")], 4 * GB, 1800).stop == ["default"]


def test_a_model_that_does_not_fit_with_all_others_unloaded_is_refused_with_both_sizes() -> None:
    refused = plan([running("a"), wanted("b", 9)], 8 * GB, 1800).refuse["b"]
    assert "needs 9,000,000,000 bytes" in refused and "8,000,000,000 are free" in refused


@pytest.mark.parametrize(("keep_alive", "stopped"), [(1800, ["old"]), (50, ["old", "new"]), (-1, [])])
def test_models_are_stopped_that_have_not_answered_for_long_but_not_the_default_one(
    keep_alive: float, stopped: list[str]
) -> None:
    models = [
        running("default", idle=9000, is_default=True),
        running("busy", idle=9000, is_busy=True),
        running("old", idle=2000),
        running("new", idle=60),
    ]
    assert plan(models, 100 * GB, keep_alive).stop == stopped


def test_one_that_somebody_unloads_is_stopped_even_if_it_is_the_default_one_or_answers() -> None:
    models = [running("a", is_default=True, is_unwanted=True), running("b", is_busy=True, is_unwanted=True)]
    assert plan(models, 100 * GB, -1).stop == ["a", "b"]


_MODELS = st.lists(
    st.builds(
        ModelUse,
        slug=st.sampled_from("abcdef"),
        needed_bytes=st.integers(1, 10),
        state=st.sampled_from(["stopped", "starting", "running", "stopping"]),
        is_default=st.booleans(),
        is_wanted=st.booleans(),
        is_busy=st.booleans(),
        idle_seconds=st.floats(0, 100),
    ),
    unique_by=lambda model: model.slug,
)


@given(_MODELS, st.integers(1, 30), st.floats(-1, 100))
def test_what_is_started_fits_and_what_answers_goes_on(models: list[ModelUse], memory: int, keep_alive: float) -> None:
    made, by_slug = plan(models, memory, keep_alive), {model.slug: model for model in models}
    assert len(made.stop) == len(set(made.stop))
    assert all(by_slug[slug].state == "running" and not by_slug[slug].is_busy for slug in made.stop)
    assert all(by_slug[slug].state == "stopped" and by_slug[slug].is_wanted for slug in made.start)
    taken = sum(model.needed_bytes for model in models if model.state != "stopped")
    if made.start:
        assert taken + sum(by_slug[slug].needed_bytes for slug in made.start) <= memory
