"""The processes of the stack: how each is started, and when it is ready."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import redis_server
from cli.processes import MARKER
from cli.readiness import ReadyCheck, api_url, flower_url, http_ready, redis_ready, worker_ready
from cli.runtime import RuntimeDir
from cli.supervisor import ProcessSpec
from core.settings import Settings
from tasks.jobs.names import Queue, Role
from tasks.jobs.producer import Producer

#: `-P`: the directory one happens to be in must not shadow a package.
PYTHON = (sys.executable, "-P", "-m")
#: The folder that has the packages and celeryconfig.py.
CODE_ROOT = Path(__file__).resolve().parent.parent
#: Loading a model takes this long on a slow disk; a worker that dies earlier has failed to start.
WORKER_SETTLE_SECONDS = 10
#: Threads of the index worker. Each waits with one request for the one thread that embeds, so this is how many requests
#: can share a micro-batch; wake-ups only nudge the one bulk loop.
INDEX_THREADS = 40
API_DRAIN_SECONDS = 10
#: Workers tell Flower how they are, and each other nothing: no clocks, leaders or revoked tasks are shared, and each
#: would read every heartbeat of all others.
QUIET_WORKER = ("--without-gossip", "--without-mingle")
#: How often a thread of GNU OpenMP looks for its next work before it sleeps (0.2 ms instead of 15). One that spins long
#: takes the core that the thread it waits for needs: beside other work on two cores, steps took seven times as long.
SHORT_SPINS = {"GOMP_SPINCOUNT": "3000"}


@dataclass(frozen=True)
class Program:
    """A process of the stack. Programs of a later wave start when all of the earlier ones are ready."""

    spec: ProcessSpec
    ready: ReadyCheck
    wave: int = 1

    @property
    def name(self) -> str:
        return self.spec.name


def stack_programs(settings: Settings, runtime: RuntimeDir, producer: Producer) -> list[Program]:
    """All processes, Redis first unless `REDIS_URL` names another one. Writes the configuration files they read.

    Raises:
        ConfigurationError: there is no Redis server on this machine.
    """
    programs = [_flower(settings, runtime), _api(settings), _watcher(producer)]
    programs[:0] = _workers(settings, runtime, producer)
    if settings.redis_url is None:
        programs.insert(0, redis_program(settings, runtime))
    return programs


def child_environment(runtime: RuntimeDir) -> dict[str, str]:
    """The environment of all supervised processes: this one's, the stack's marker, and no telemetry."""
    return {
        "OMP_NUM_THREADS": "1",
        **guard_environment(),
        MARKER: str(runtime.path),
        "PYTHONUNBUFFERED": "1",
        # Celery repeats this at each start of each worker; it matters where pickle is accepted, which it is not here.
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore:You're running the worker with superuser"),
        "TOKENIZERS_PARALLELISM": "false",
        "DO_NOT_TRACK": "1",
        "SCARF_NO_ANALYTICS": "1",
        "UNSTRUCTURED_DISABLE_NOTICE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def guard_environment() -> dict[str, str]:
    """The environment of the guard: without the marker, so that it does not sweep itself away."""
    paths = [str(CODE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {name: value for name, value in os.environ.items() if name != MARKER}
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths)}


def flower_password(settings: Settings) -> str:
    """Flower's password: `FLOWER_PASSWORD`, else one that is generated once and kept under `DATA_DIR`."""
    if settings.flower_password is not None:
        return settings.flower_password.get_secret_value()
    path = settings.state_dir / "flower-password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(12))
    return path.read_text().strip()


def redis_program(settings: Settings, runtime: RuntimeDir) -> Program:
    """The private Redis server, on a socket in the runtime directory."""
    binary = redis_server.find_redis_server()
    redis_server.write_config(
        runtime.redis_config, socket=runtime.path / "redis.sock", data_dir=settings.state_dir / "redis"
    )
    spec = ProcessSpec("redis", [str(binary), str(runtime.redis_config)])
    return Program(spec, redis_ready(settings), wave=0)


def _workers(settings: Settings, runtime: RuntimeDir, producer: Producer) -> list[Program]:
    waiting = settings.slots + settings.inference_waiting_limit
    schedule = str(settings.state_dir / "beat-schedule")
    # Reconciliation would find nobody to send to before the others are there, but it may as well start with them.
    arguments: list[tuple[Role, Sequence[Queue], Sequence[str], int]] = [
        (Role.MAINTENANCE, [Queue.MAINTENANCE], ["-P", "solo", "-B", "-s", schedule], 1),
        (Role.INGEST, [Queue.INGEST], ["-P", "prefork", "-c", str(settings.parsers)], 1),
        (Role.INDEX, [Queue.QUERY, Queue.INDEX], ["-P", "threads", "-c", str(INDEX_THREADS)], settings.cores),
        (Role.INFERENCE, [Queue.INFERENCE, Queue.BATCH], ["-P", "threads", "-c", str(waiting)], settings.cores),
    ]
    return [
        Program(_worker_spec(settings, runtime, role, queues, pool, threads), worker_ready(producer, role))
        for role, queues, pool, threads in arguments
    ]


def _worker_spec(
    settings: Settings, runtime: RuntimeDir, role: Role, queues: Sequence[Queue], pool: Sequence[str], threads: int
) -> ProcessSpec:
    command = [
        *PYTHON, "celery", "--quiet", "-A", "tasks", "worker", *QUIET_WORKER,
        "-Q", ",".join(queue.value for queue in queues), *pool,
        "-n", f"{_node_name(settings, runtime, role)}@%h", "-l", settings.log_level.lower(),
    ]  # fmt: skip
    defaults = {"OMP_NUM_THREADS": str(threads), **SHORT_SPINS}
    environment = {name: value for name, value in defaults.items() if name not in os.environ}
    return ProcessSpec(role.value, command, WORKER_SETTLE_SECONDS, environment)


def _node_name(settings: Settings, runtime: RuntimeDir, role: Role) -> str:
    # Two stacks that share a Redis server, or two machines of the same name, must not share a node's name.
    return role.value if settings.redis_url is None else f"{role.value}-{runtime.path.name[-6:]}"


def _watcher(producer: Producer) -> Program:
    return Program(ProcessSpec("watcher", [*PYTHON, "watchers"], 3), worker_ready(producer, Role.WATCHER))


def _api(settings: Settings) -> Program:
    command = [
        *PYTHON, "uvicorn", "--factory", "api.app:create_app", "--host", settings.host, "--port", str(settings.port),
        "--no-access-log", "--log-level", settings.log_level.lower(),
        "--timeout-graceful-shutdown", str(API_DRAIN_SECONDS),
    ]  # fmt: skip
    return Program(ProcessSpec("api", command, 3), http_ready(f"{api_url(settings)}/health"))


def _flower(settings: Settings, runtime: RuntimeDir) -> Program:
    # In a file of this user only: command lines can be read by everyone on the machine.
    options: Mapping[str, object] = {
        "address": settings.flower_host,
        "port": settings.flower_port,
        "basic_auth": [f"{settings.flower_user}:{flower_password(settings)}"],
        "read_only": True,
        "persistent": False,
        "enable_events": True,
    }
    runtime.flower_config.touch(mode=0o600)
    runtime.flower_config.write_text("".join(f"{name} = {value!r}\n" for name, value in options.items()))
    command = [*PYTHON, "celery", "--quiet", "-A", "tasks", "flower", f"--conf={runtime.flower_config}"]
    return Program(ProcessSpec("flower", command, 3), http_ready(f"{flower_url(settings)}/", any_answer=True))
