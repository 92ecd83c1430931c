from __future__ import annotations

import shlex
import stat
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from cli.runtime import RuntimeDir
from cli.supervisor import ProcessSpec, write_config
from core.errors import ConfigurationError


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeDir:
    runtime = RuntimeDir(tmp_path / "run")
    runtime.prepare()
    return runtime


def parsed(runtime: RuntimeDir) -> ServerOptions:
    """Return the configuration as supervisord itself reads it."""
    options = ServerOptions()
    options.realize(args=["-c", str(runtime.supervisor_config)])
    return options


def test_commands_and_environment_survive_the_syntax(runtime: RuntimeDir, tmp_path: Path) -> None:
    specs = [
        ProcessSpec("one", ["/bin/echo", "100%", "a b", 'quo"te', "%h"], 7, {"OMP_NUM_THREADS": "2"}),
        ProcessSpec("two", ["/bin/true"]),
    ]
    write_config(runtime, tmp_path / "my logs", specs)
    found = parsed(runtime).configroot.supervisord.process_group_configs
    groups = {group.name: group.process_configs[0] for group in found}
    assert shlex.split(groups["one"].command) == ["/bin/echo", "100%", "a b", 'quo"te', "%h"]
    assert groups["one"].startsecs == 7 and groups["one"].environment == {"OMP_NUM_THREADS": "2"}
    assert groups["one"].stdout_logfile == str(tmp_path / "my logs" / "one.log")
    assert not groups["one"].autostart and groups["one"].autorestart


def test_config_and_directory_are_private(runtime: RuntimeDir, tmp_path: Path) -> None:
    write_config(runtime, tmp_path / "logs", [])
    assert stat.S_IMODE(runtime.supervisor_config.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.path.stat().st_mode) == 0o700


def test_path_that_would_become_a_comment_is_refused(runtime: RuntimeDir, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="comment"):
        write_config(runtime, tmp_path / "logs ;old", [ProcessSpec("one", ["/bin/true"])])


def test_runtime_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "run").symlink_to(target)
    with pytest.raises(ConfigurationError, match="must be a directory that belongs to you"):
        RuntimeDir(tmp_path / "run").prepare()
