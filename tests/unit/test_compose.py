"""Checks of docker-compose.yml, the Dockerfile and the entrypoint that need no Docker engine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cli.programs import QUIET_WORKER
from cli.redis_server import write_config
from core.errors import ConfigurationError
from core.settings import Settings, load_settings
from scripts.settings_docs import COMPOSE_SETTINGS
from tasks.jobs.queues import Queue, Role

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"secrets", "migrate"}
STORES = {"redis", "postgres", "qdrant"}
#: Only with `--profile monitoring`.
MONITORING = {"prometheus", "grafana"}
RUNNING = sorted(set(SERVICES) - ONE_SHOT)
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"
HEALTHCHECK = ROOT / "docker" / "healthcheck.sh"


def _script(name: str) -> Any:
    """Import a script of docker/ by its path, because a package called docker may be installed."""
    spec = importlib.util.spec_from_file_location(f"docker_{name}", ROOT / "docker" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_settings = _script("check_settings")
make_secrets = _script("make_secrets")


def test_the_file_follows_the_schema_of_compose() -> None:
    # The package `check-jsonschema` contains the schema of the Compose specification.
    path = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    assert [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []


def test_every_process_has_a_service() -> None:
    processes = {role.value for role in Role} - {Role.SUPERVISOR} | {"flower"}
    assert set(SERVICES) == STORES | ONE_SHOT | MONITORING | processes
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["monitoring"]} == MONITORING


def test_ports_are_published_on_loopback_unless_an_address_is_set() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "api": ["${BIND_ADDRESS:-127.0.0.1}:${PORT:-8000}:8000"],
        "flower": ["127.0.0.1:${FLOWER_PORT:-5555}:5555"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }


@pytest.mark.parametrize("name", RUNNING)
def test_every_running_service_is_checked_restarted_confined_and_has_time_to_drain(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "75s"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_runs_as_root(name: str) -> None:
    service = SERVICES[name]
    if service["image"] == "llm-api:local":
        assert re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE)[-1] == "10001:10001"
    else:
        assert service.get("user") in ("redis", "postgres", "nobody", "grafana") or service["image"].endswith(
            "-unprivileged"
        )


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_only_for_conditions_that_can_be_met(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"], f"{other} has no health"
        else:
            assert wait["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] == "no", f"{other} never completes"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_waits_for_the_secrets_it_reads(name: str) -> None:
    def reached(service: str) -> set[str]:
        direct = set(SERVICES[service].get("depends_on", {}))
        return direct.union(*(reached(other) for other in direct))

    assert name in {"secrets", *MONITORING} or "secrets" in reached(name)


def test_volumes_and_networks_are_declared_and_used() -> None:
    volumes = [mount for service in SERVICES.values() for mount in service["volumes"]]
    assert {mount["source"] for mount in volumes if mount["type"] == "volume"} == set(COMPOSE["volumes"])
    assert {network for service in SERVICES.values() for network in service["networks"]} == set(COMPOSE["networks"])
    for name in STORES:
        assert SERVICES[name]["networks"] == ["internal"], f"{name} must not be reachable, nor reach out"


def test_only_one_service_builds_the_image_and_all_others_wait_for_it_without_a_registry() -> None:
    assert [name for name, service in SERVICES.items() if "build" in service] == ["secrets"]
    ours = {name for name, service in SERVICES.items() if service["image"] == "llm-api:local"}
    assert {name for name, service in SERVICES.items() if service.get("pull_policy") == "never"} == ours


def test_the_image_makes_no_volume_that_no_service_names() -> None:
    assert "VOLUME" not in re.findall(r"^([A-Z]+) ", DOCKERFILE, flags=re.MULTILINE)


def test_what_the_file_fixes_of_the_settings_is_used_in_another_way_or_said() -> None:
    # All other settings are taken from .env, WATCH_DIRS among them.
    settings = {name.upper() for name in Settings.model_fields}
    fixed = {name for service in SERVICES.values() for name in service.get("environment", ())} & settings
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = {name for name in fixed if re.search(rf"(?<!GIVEN_{name}: )\$\{{{name}:-", text)}
    assert fixed == used | set(check_settings.FIXED)
    assert {f"GIVEN_{name}" for name in check_settings.FIXED} <= set(SERVICES["secrets"]["environment"])


def test_redis_has_the_memory_of_the_settings() -> None:
    default = Settings.model_fields["redis_max_memory_bytes"].default
    command = ["redis-server", "/secrets/redis.conf", "--maxmemory", f"${{REDIS_MAX_MEMORY_BYTES:-{default}}}"]
    assert SERVICES["redis"]["command"] == command


def test_health_checks_start_no_interpreter_of_python_and_not_all_at_once() -> None:
    checks = {name: SERVICES[name]["healthcheck"] for name in RUNNING if name not in STORES | MONITORING}
    assert {name: check["test"] for name, check in checks.items()} == {
        name: ["CMD", "/app/docker/healthcheck.sh", name] for name in checks
    }
    assert len({check["interval"] for check in checks.values()}) == len(checks)
    assert HEALTHCHECK.read_text(encoding="utf-8").startswith("#!/bin/bash")


def test_only_known_variables_are_interpolated() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))
    settings = {name.upper() for name in Settings.model_fields}
    assert set(COMPOSE_SETTINGS) <= used <= settings | set(COMPOSE_SETTINGS)
    assert all(":-" in use for use in re.findall(r"(?<!\$)\$\{([^}]+)\}", text)), "each works without a .env"
    assert set(SERVICES["secrets"]["build"]["args"]) == set(re.findall(r"^ARG ([A-Z_]+)=", DOCKERFILE, re.MULTILINE))


def test_the_files_that_the_image_needs_are_in_its_context() -> None:
    listed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in listed if line.startswith("!")}
    assert kept >= {"api", "celeryconfig.py", "core", "docker", "inference", "ingest", "llm_api", "tasks", "watchers"}
    assert not kept & {".env", ".git", "data"}


# The entrypoint, with stand-ins for the programs that it executes


@pytest.fixture
def started(tmp_path: Path) -> Any:
    """Return a function that runs the entrypoint and returns the command line that it executed and the environment."""
    stand_in = f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([sys.argv, dict(os.environ)]))\n"
    # Python runs the entrypoint's own scripts, and our packages are not started.
    run_or_print = "if sys.argv[1] != '-m': os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\nprint("
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for program in ("python", "stand-in"):
        script = stand_in.replace("print(", run_or_print, 1) if program == "python" else stand_in
        (binaries / program).write_text(script)
        (binaries / program).chmod(0o755)

    def run(*arguments: str, secrets: Path | None = None, **environment: str) -> tuple[list[str], dict[str, str]]:
        clean = {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "SECRETS_DIR": str(secrets or tmp_path / "none"),
        }
        done = subprocess.run(
            [ENTRYPOINT, *arguments], cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=True
        )
        argv, seen = json.loads(done.stdout)
        return [Path(argv[0]).name, *argv[1:]], seen

    return run


@pytest.mark.check
def test_the_workers_consume_every_queue_once(started: Any) -> None:
    queues: list[str] = []
    for service in SERVICES.values():
        if service.get("command", [""])[0] == "worker":
            command, _ = started(*service["command"])
            assert command[:4] == ["python", "-m", "tasks", "worker"]
            queues += command[command.index("-Q") + 1].split(",")
    assert sorted(queues) == sorted(queue.value for queue in Queue)


@pytest.mark.check
@pytest.mark.parametrize(
    ("role", "options"),
    [
        ("ingest", ["-P", "prefork", "-c", "3"]),
        ("index", ["-P", "threads", "-c", "40"]),
        ("inference", ["-P", "threads", "-c", "7"]),
        ("maintenance", ["-P", "solo", "-B"]),
    ],
)
def test_a_worker_has_the_pool_of_its_role(started: Any, role: str, options: list[str]) -> None:
    settings = {"INFERENCE_SLOTS": "2", "INFERENCE_WAITING_LIMIT": "5", "INGEST_CONCURRENCY": "3", "DATA_DIR": "/data"}
    command, _ = started("worker", role, **settings)
    assert " ".join(options) in " ".join(command)
    assert f"{role}@%h" in command
    assert set(QUIET_WORKER) <= set(command)


def test_an_unknown_worker_is_refused(started: Any) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        started("worker", "chef")
    assert refused.value.returncode == 64
    assert "There is no worker 'chef'" in refused.value.stderr


def test_addresses_are_built_from_the_secrets(started: Any, tmp_path: Path) -> None:
    make_secrets.make_secrets(tmp_path)
    password = {name: (tmp_path / name).read_text() for name in make_secrets.NAMES}
    _, seen = started("stand-in", secrets=tmp_path)
    assert seen["REDIS_URL"] == f"redis://:{password['redis_password']}@redis:6379/0"
    assert seen["DATABASE_URL"].endswith(f"llm_api:{password['postgres_password']}@postgres:5432/llm_api")
    assert (seen["QDRANT_URL"], seen["QDRANT_API_KEY"]) == ("http://qdrant:6333", password["qdrant_api_key"])
    assert seen["FLOWER_PASSWORD"] == password["flower_password"]
    names = ("REDIS_URL", "DATABASE_URL", "QDRANT_URL", "QDRANT_API_KEY")
    load_settings(_env_file=None, **{name.lower(): seen[name] for name in names})


def test_an_address_in_the_environment_wins(started: Any, tmp_path: Path) -> None:
    make_secrets.make_secrets(tmp_path)
    _, seen = started("stand-in", secrets=tmp_path, REDIS_URL="redis://elsewhere", QDRANT_HOST="elsewhere")
    assert seen["REDIS_URL"] == "redis://elsewhere"
    assert "QDRANT_URL" not in seen
    assert "QDRANT_API_KEY" not in seen, "our key is not sent to another server"


@pytest.mark.check
@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ({"BIND_ADDRESS": "127.0.0.1"}, False),
        ({"BIND_ADDRESS": "0.0.0.0"}, True),
        ({"BIND_ADDRESS": "192.0.2.7"}, True),
        ({}, True),
        ({"BIND_ADDRESS": "0.0.0.0", "API_KEYS": "secret"}, False),
        ({"BIND_ADDRESS": "0.0.0.0", "ALLOW_ANONYMOUS": "true"}, False),
        ({"BIND_ADDRESS": "127.0.0.1", "ALLOW_ANONYMOUS": "false"}, True),
    ],
)
def test_other_machines_are_not_served_without_keys(
    started: Any, environment: dict[str, str], refused: bool, tmp_path: Path
) -> None:
    environment |= {"DATA_DIR": str(tmp_path)}
    if refused:
        with pytest.raises(subprocess.CalledProcessError) as failed:
            started("api", **environment)
        assert failed.value.stderr.startswith(
            "HOST=0.0.0.0 serves other machines, so API_KEYS must be set or a key be created"
        )
    else:
        command, seen = started("api", **environment)
        assert command[:5] == ["python", "-m", "api.server", "--host", "0.0.0.0"]
        assert seen["HOST"] == "0.0.0.0"
        assert seen["ALLOWED_HOSTS"] == "api,host.docker.internal"


@pytest.mark.check
@pytest.mark.parametrize("arguments", [("api",), ("worker", "index")])
def test_a_wrong_setting_is_reported_in_one_line(started: Any, arguments: tuple[str, ...]) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        started(*arguments, BIND_ADDRESS="127.0.0.1", CONTEXT_LENGTH="many")
    assert failed.value.stderr.startswith("CONTEXT_LENGTH='many': ")
    assert failed.value.stderr.count("\n") == 1


# Secrets


def test_secrets_are_generated_once_and_kept(tmp_path: Path) -> None:
    assert make_secrets.make_secrets(tmp_path) == list(make_secrets.NAMES)
    first = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert make_secrets.make_secrets(tmp_path) == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == first
    assert len({first[name] for name in make_secrets.NAMES}) == len(make_secrets.NAMES)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in tmp_path.iterdir())
    assert f"requirepass {first['redis_password']}" in first["redis.conf"]


def test_redis_is_configured_like_the_private_one(tmp_path: Path) -> None:
    make_secrets.make_secrets(tmp_path)
    private = tmp_path / "private.conf"
    write_config(private, socket=tmp_path / "redis.sock", data_dir=tmp_path / "redis", max_memory_bytes=1)
    lines = private.read_text().splitlines()
    same = ("appendonly ", "appendfsync ", "save ", "maxmemory-policy ", "hz ")
    expected = [line for line in lines if line.startswith(same)]
    assert len(expected) == len(same)
    assert set(expected) <= set((tmp_path / "redis.conf").read_text().splitlines())


# The settings


def test_settings_without_effect_in_containers_are_said() -> None:
    given = {"GIVEN_DATA_DIR": "./elsewhere", "GIVEN_HOST": "0.0.0.0", "GIVEN_BLOB_DIR": ""}
    assert check_settings.ignored_settings(given) == [
        "DATA_DIR=./elsewhere has no effect in containers: the data is in the volume `data`.",
        "HOST=0.0.0.0 has no effect in containers: set BIND_ADDRESS to serve other machines.",
    ]


def test_a_prompt_template_reaches_only_those_that_mount_its_folder() -> None:
    ours = {name: service for name, service in SERVICES.items() if service["image"] == "llm-api:local"}
    given = {name for name, service in ours.items() if service["environment"]["RAG_PROMPT_TEMPLATE"]}
    mounted = {name for name in given if "/models" in [mount["target"] for mount in ours[name]["volumes"]]}
    assert given == mounted == {"secrets", "inference"}


def test_a_file_with_a_prompt_template_is_named_by_its_path_in_the_containers() -> None:
    with pytest.raises(ConfigurationError, match=r"^RAG_PROMPT_TEMPLATE=prompt\.txt: .* /models/prompt\.txt"):
        check_settings.require_template_in_models({"RAG_PROMPT_TEMPLATE": "prompt.txt"})
    for value in ("/models/prompt.txt", "Read {documents} and answer {question}", ""):
        check_settings.require_template_in_models({"RAG_PROMPT_TEMPLATE": value})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"watch_dirs": "./inbox=notes"}, r"^WATCH_DIRS=\./inbox=notes: .* as /inbox; mount other folders"),
        ({"watch_dirs": "/inbox", "model_path": "models/a.gguf"}, r"^MODEL_PATH=models/a\.gguf: .* /models/a\.gguf"),
    ],
)
def test_a_path_of_the_host_is_refused(setting: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_settings.require_container_paths(load_settings(_env_file=None, **setting))
    check_settings.require_container_paths(load_settings(_env_file=None, watch_dirs="/inbox=notes,/srv/mail"))
