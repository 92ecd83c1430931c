"""Flower's options in a container: it listens on all addresses there, requires a login, and is read-only."""

from core.settings import load_settings

_settings = load_settings()
if _settings.flower_password is None:
    raise SystemExit("FLOWER_PASSWORD must be set: Flower does not start without a login.")

address = "0.0.0.0"  # noqa: S104 - the container's own network
port = 5555
basic_auth = [f"{_settings.flower_user}:{_settings.flower_password.get_secret_value()}"]
read_only = True
persistent = False
# As in cli/programs.py: the workers send events unasked.
enable_events = False
