"""The command lines of workers and of Flower: `python -P -m tasks worker …` and `python -P -m tasks flower …`.

They take the arguments that follow `celery -A tasks worker` and `celery -A tasks flower`. Celery's own command imports
all of its other commands and plugins too, among them a shell: 13 MB in each process. And it imports `tasks` from the
working directory first, where a user may have a module of that name. Run this way, the package is imported before.
"""

from __future__ import annotations

from pkgutil import resolve_name

import click
from celery import Celery
from celery.bin.base import CLIContext

WORKER, FLOWER = "worker", "flower"
_COMMANDS = {WORKER: "celery.bin.worker:worker", FLOWER: "flower.command:flower"}


class Commands(click.Group):
    """The two commands. Each is imported when it is run."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return the command of this name, or None."""
        return resolve_name(_COMMANDS[name]) if name in _COMMANDS else None


@click.group(cls=Commands)
@click.pass_context
def main(context: click.Context) -> None:
    """Run a worker or Flower."""
    application = _monitored() if context.invoked_subcommand == FLOWER else _working()
    context.obj = CLIContext(app=application, no_color=False, workdir=None, quiet=True)


def _working() -> Celery:
    from tasks.app import celery_app

    return celery_app


def _monitored() -> Celery:
    """Return an application without tasks: Flower only reads the events of workers."""
    # Not by its name: that, Celery looks for in the working directory first.
    import celeryconfig

    return Celery("llm-api", config_source=celeryconfig, set_as_current=True)


if __name__ == "__main__":
    main()
