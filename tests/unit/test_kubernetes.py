"""The manifests in deploy/kubernetes: valid, and in agreement with the compose file and the settings."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from core.settings import Settings
from tests.support import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OBJECTS: list[dict[str, Any]] = [
    document for path in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text("utf-8"))
]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
#: The versions of Kubernetes that are supported upstream, and what is not a setting but a password of a store.
VERSIONS = ("1.31", "1.34")
PASSWORDS = {"redis_password", "postgres_password"}


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind}


def containers(one: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str) -> None:
    assert len(OBJECTS) > 10
    for one in OBJECTS:
        kubernetes_validate.validate(one, version, strict=True)


def test_every_setting_exists() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    given = set(named("ConfigMap")["settings"]["data"]) | set(named("Secret")["secrets"]["stringData"])
    assert given - PASSWORDS <= settings


def test_the_same_processes_run_as_in_containers_on_one_host() -> None:
    ours = {
        name for name, service in COMPOSE["services"].items() if str(service.get("image", "")).startswith("llm-api")
    }
    assert set(named("Deployment")) == ours - {"secrets", "migrate", "watcher"}


def test_stores_have_the_images_of_the_compose_file() -> None:
    for name, store in named("StatefulSet").items():
        assert containers(store)[0]["image"] == COMPOSE["services"][name]["image"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_no_process_has_rights_that_it_does_not_need(kind: str) -> None:
    for one in named(kind).values():
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in containers(one):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_what_may_run_only_once_has_one_replica() -> None:
    maintenance = named("Deployment")["maintenance"]["spec"]
    assert maintenance["replicas"] == 1
    assert maintenance["strategy"] == {"type": "Recreate"}


def test_passwords_agree() -> None:
    secrets = named("Secret")["secrets"]["stringData"]
    assert secrets["redis_password"] in secrets["REDIS_URL"]
    assert secrets["postgres_password"] in secrets["DATABASE_URL"]
