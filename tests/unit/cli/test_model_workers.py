"""What `llm-api up` does with the workers of language models, over fakes of the stack and of Redis."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import model_workers
from cli.model_workers import ModelWorkers
from cli.programs import Program
from cli.supervisor import ProcessInfo, ProcessSpec
from core.catalog import ModelWish
from core.errors import ErrorInfo, Unavailable
from core.models.library import LibraryModel, Problem
from core.settings import load_settings
from tasks.jobs.queues import Role


@dataclass
class FakeStack:
    """Processes by name, with their states."""

    states: dict[str, str] = field(default_factory=lambda: {"inference": "RUNNING"})
    suspended: set[str] = field(default_factory=set)
    runtime: Any = None

    @property
    def names(self) -> list[str]:
        return list(self.states)

    def processes(self) -> dict[str, ProcessInfo]:
        return {
            name: ProcessInfo(name, state, _pid(name) if state == "RUNNING" else 0, 1.0, 0, Path("log"), "")
            for name, state in self.states.items()
        }

    def known_pid(self, name: str) -> int | None:
        return _pid(name) if self.states.get(name) == "RUNNING" else None

    def add(self, program: Program) -> None:
        self.states[program.name] = "RUNNING"

    def resume(self, name: str) -> None:
        self.suspended.discard(name)
        self.states[name] = "RUNNING"

    def suspend(self, name: str) -> None:
        self.suspended.add(name)
        self.states[name] = "STOPPING"

    def remove(self, name: str) -> None:
        del self.states[name]
        self.suspended.discard(name)

    def is_supposed_to_run(self, name: str) -> bool:
        return name in self.states and name not in self.suspended

    def last_log_line(self, name: str) -> str:
        return f"{name} has a broken file"


def _pid(name: str) -> int:
    return 1000 + sum(name.encode())


@dataclass
class FakeQueues:
    """The producer, and its `models`: jobs that wait by queue, and what was said to them."""

    workers_of: dict[str, dict[str, Any]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    informed: list[str] = field(default_factory=list)

    @property
    def models(self) -> FakeQueues:
        return self

    @property
    def records(self) -> SimpleNamespace:
        return SimpleNamespace(redis=SimpleNamespace(register_script=lambda _: lambda **_: None))

    def workers(self, role: Role) -> dict[str, dict[str, Any]]:
        return self.workers_of if role is Role.INFERENCE else {}

    def waiting_counts(self, queues: list[str]) -> dict[str, int]:
        return {queue: self.waiting.get(queue, 0) for queue in queues}

    def loading_percents(self, models: list[str]) -> dict[str, int]:
        return {}

    def fail_waiting(self, queue: str, error: ErrorInfo) -> None:
        self.failed.append((str(queue), error.message))

    def say_loading(self, queue: str, percent: int | None) -> None:
        self.informed.append(str(queue))


@dataclass(frozen=True)
class Model:
    """A model on disk that needs so much memory."""

    name: str
    needed: int
    bytes: int = 1
    context_length: int = 1
    quantisation: str = "Q8_0"
    parameters: int = 1
    repo: str | None = None

    @property
    def slug(self) -> str:
        return self.name

    def needed_bytes(self, _settings: object) -> int:
        return self.needed


class World:
    """A supervisor with 10 bytes of memory for the models `first` (the default), `second` and `third`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(model_workers.time, "monotonic", lambda: self.now)
        self.reported: list[str] = []
        self.stack, self.queues = FakeStack(runtime=_Runtime()), FakeQueues()
        self.wishes: dict[str, ModelWish] = {}
        self.problems: list[Problem] = []
        self.library = [Model("first", 4), Model("second", 4), Model("third", 4), Model("huge", 11)]
        self.workers: Any = ModelWorkers(
            load_settings(_env_file=None, model_keep_alive=600),
            self.stack,  # type: ignore[arg-type]
            self.queues,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            default="first",
            memory_bytes=10,
            make_program=self._program,
            report=lambda line: self.reported.append(line),
        )
        self.announce("inference")
        self.tick()

    def _program(self, model: LibraryModel) -> Program:
        return Program(ProcessSpec(f"inference-{model.slug}", ["true"]), lambda _: True)

    def models(self) -> list[Model]:
        return self.library

    def model_wishes(self) -> list[ModelWish]:
        return list(self.wishes.values())

    def announce(self, name: str, **stats: int) -> None:
        self.queues.workers_of[name] = {"pid": _pid(name), "engine": {"steps": 0, "finished": 0, **stats}}

    def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.workers._look_at = 0.0
        self.workers.tick()

    def states(self) -> dict[str, str]:
        return {model["name"]: model["state"] for model in self.workers._info()["models"]}

    def want(self, slug: str) -> None:
        self.wishes[slug] = ModelWish(slug, wanted_at=self.now)

    def load(self, slug: str) -> None:
        self.want(slug)
        self.tick()
        self.announce(f"inference-{slug}")
        self.tick()


class _Runtime:
    path = Path("runtime-123456")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_wish_starts_its_model_once_and_its_jobs_learn_of_it(world: World) -> None:
    assert world.states() == {"first": "loaded", "second": "available", "third": "available", "huge": "available"}
    world.want("second")
    world.queues.waiting["inference.second"] = 1
    world.tick()
    assert world.states()["second"] == "loading" and "inference.second" in world.queues.informed
    world.announce("inference-second")
    world.tick()
    assert world.states()["second"] == "loaded"
    world.queues.waiting.clear()
    world.tick(601)
    world.stack.states["inference-second"] = "STOPPED"
    world.tick()
    assert "inference-second" not in world.stack.states, "the old wish does not start it again"
    assert world.states()["second"] == "available" and world.states()["first"] == "loaded"


def test_jobs_that_wait_start_their_model_without_a_wish(world: World) -> None:
    world.queues.waiting["batch.third"] = 1
    world.tick()
    assert world.states()["third"] == "loading"


def test_the_least_recently_used_makes_room_and_comes_back_when_it_is_wanted(world: World) -> None:
    world.load("second")
    world.announce("inference", steps=5)
    world.tick()
    world.want("third")
    world.tick()
    assert world.states()["second"] == "available" and world.states()["third"] == "available", "second ends first"
    world.stack.states["inference-second"] = "STOPPED"
    world.tick()
    assert world.states()["third"] == "loading" and world.states()["first"] == "loaded"
    world.announce("inference-third", steps=9)
    world.tick()
    world.announce("inference-third", steps=10)
    world.tick()
    world.want("second")
    world.tick()
    assert world.stack.states["inference"] == "STOPPING", "the default one too, if it was used least recently"
    world.stack.states["inference"] = "STOPPED"
    world.tick()
    assert world.states() == {"first": "available", "second": "loading", "third": "loaded", "huge": "available"}


def test_a_process_that_supervisord_did_not_start_or_stop_is_asked_for_again(world: World) -> None:
    world.load("second")
    world.stack.states["inference-second"] = "STOPPED"
    world.tick()
    assert world.stack.states["inference-second"] == "RUNNING"
    world.wishes["second"] = ModelWish("second", wanted_at=world.wishes["second"].wanted_at, unwanted_at=world.now)
    world.tick()
    world.stack.states["inference-second"] = "RUNNING"
    world.tick()
    assert world.stack.states["inference-second"] == "STOPPING"


def test_one_that_fails_to_load_fails_its_jobs_at_once_for_a_while(world: World) -> None:
    world.want("second")
    world.tick()
    world.stack.states["inference-second"] = "FATAL"
    world.tick()
    assert world.states()["second"] == "failed" and "inference-second" not in world.stack.states
    world.want("second")
    world.tick()
    assert world.queues.failed[0][0] == "inference.second" and "broken file" in world.queues.failed[0][1]
    world.want("second")
    world.tick(model_workers.FAILURE_SECONDS)
    assert world.states()["second"] == "loading"


def test_one_that_never_fits_is_refused_with_its_size(world: World) -> None:
    shown = {model["name"]: model for model in world.workers._info()["models"]}
    assert not shown["huge"]["loadable"] and "needs 11 bytes" in shown["huge"]["problem"]
    world.queues.waiting["inference.huge"] = 1
    world.tick()
    assert "needs 11 bytes" in world.queues.failed[0][1]


def test_one_that_somebody_unloads_is_stopped_and_not_started_again(world: World) -> None:
    world.load("second")
    world.wishes["second"] = ModelWish("second", wanted_at=world.wishes["second"].wanted_at, unwanted_at=world.now)
    world.tick()
    assert world.stack.states["inference-second"] == "STOPPING"
    world.stack.states["inference-second"] = "STOPPED"
    world.tick()
    world.tick()
    assert world.states()["second"] == "available"


@pytest.mark.parametrize("fault", [Unavailable("Redis does not answer."), KeyError("models")])
def test_a_fault_is_reported_once_and_the_next_look_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(_role: Role) -> dict[str, dict[str, Any]]:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(world.queues, "workers", fail)
        for _ in range(3):
            world.tick()
    (line,) = world.reported
    assert "cannot be looked after for now" in line
    world.load("second")
    assert world.states()["second"] == "loaded"


def test_a_file_that_cannot_be_used_is_announced_with_the_reason(world: World) -> None:
    world.problems = [
        Problem(Path("/m/Cut-Off.gguf"), "cut off"),
        Problem(Path("/m/first.gguf"), "its name is that of another"),
        Problem(Path("/m"), "cannot be read"),
    ]
    world.tick()
    shown = {model["name"]: model for model in world.workers._info()["models"]}
    assert set(shown) == {"first", "second", "third", "huge", "Cut-Off"}
    cut = shown["Cut-Off"]
    assert (cut["state"], cut["loadable"], cut["problem"]) == ("failed", False, "cut off")
    assert shown["first"]["state"] == "loaded" and not shown["first"]["problem"]


def test_one_whose_file_was_removed_is_stopped(world: World) -> None:
    world.load("second")
    world.library = [model for model in world.library if model.name != "second"]
    world.tick()
    assert world.stack.states["inference-second"] == "STOPPING"
    world.stack.states["inference-second"] = "STOPPED"
    world.tick()
    assert list(world.stack.states) == ["inference"] and "second" not in world.states()


def test_the_chosen_default_is_not_unloaded_for_being_idle(world: World) -> None:
    world.load("second")
    world.wishes["second"] = ModelWish("second", wanted_at=world.wishes["second"].wanted_at, is_default=True)
    world.tick(700)
    assert world.states()["second"] == "loaded" and world.stack.states["inference"] == "STOPPING"
