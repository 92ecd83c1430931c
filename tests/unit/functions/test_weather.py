"""The weather functions against a local server that speaks Open-Meteo's format."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from core.settings import load_settings
from inference.functions import FunctionContext, FunctionError, FunctionResult, function_registry, load_functions
from inference.functions.builtin import weather

PARIS = {"name": "Paris", "latitude": 48.85, "longitude": 2.35, "country": "France", "country_code": "FR"}
PARIS_TEXAS = {
    "name": "Paris",
    "latitude": 33.66,
    "longitude": -95.56,
    "country": "United States",
    "country_code": "US",
    "admin1": "Texas",
}


class OpenMeteo(ThreadingHTTPServer):
    """A server with the two endpoints that the functions use. `answer` replaces the forecast's response."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, list[str]]] = []
        self.answer: tuple[int, bytes] | None = None

    @property
    def context(self) -> FunctionContext:
        url = f"http://127.0.0.1:{self.server_port}"
        return FunctionContext(base_urls=dict.fromkeys(weather.HOSTS, url))


class _Handler(BaseHTTPRequestHandler):
    server: OpenMeteo

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        self.server.asked.append(query)
        if address.path == "/v1/search":
            self._send(200, json.dumps(_places(query["name"][0])).encode())
        elif self.server.answer:
            self._send(*self.server.answer)
        else:
            self._send(200, json.dumps(_forecast(query)).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing, to keep the output of the tests clean."""

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _places(name: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"generationtime_ms": 0.5}  # without matches, Open-Meteo leaves `results` out
    if name == "Paris":
        answer["results"] = [PARIS, PARIS_TEXAS]
    return answer


def _forecast(query: dict[str, list[str]]) -> dict[str, Any]:
    answer: dict[str, Any] = {"latitude": 48.86, "longitude": 2.36, "timezone": "Europe/Paris"}
    if "current" in query:
        values = {name: 7.5 for name in query["current"][0].split(",")}
        answer["current"] = values | {"time": "2026-03-28T23:30", "interval": 900, "weather_code": 61}
    if "daily" in query:
        days = int(query["forecast_days"][0])
        columns = {name: [1.0] * days for name in query["daily"][0].split(",")}
        times = [f"2026-03-{28 + day}" for day in range(days)]
        answer["daily"] = columns | {"time": times, "weather_code": [3, None, 42][:days]}
    return answer


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    load_functions(load_settings(_env_file=None))


@pytest.fixture
def server() -> Iterator[OpenMeteo]:
    server = OpenMeteo()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def now_at(context: FunctionContext, location: str, **arguments: Any) -> FunctionResult:
    return function_registry.call("get_current_weather", {"location": location, **arguments}, context)


def test_the_current_weather_is_returned(server: OpenMeteo) -> None:
    result = now_at(server.context, "Paris", unit="fahrenheit").result
    assert result["location"] == "Paris, France"
    assert result["condition"] == "light rain"
    assert (result["temperature"], result["unit"]) == (7.5, "fahrenheit")
    assert server.asked[-1]["temperature_unit"] == ["fahrenheit"]
    assert server.asked[-1]["latitude"] == ["48.85"]


@pytest.mark.parametrize("location", ["Paris, Texas", "Paris, US", "Paris, Texas, United States", "Paris, tex"])
def test_text_after_the_comma_selects_the_place(server: OpenMeteo, location: str) -> None:
    assert now_at(server.context, location).result["location"] == "Paris, Texas, United States"


def test_a_forecast_has_an_entry_for_each_day(server: OpenMeteo) -> None:
    arguments = {"location": "Paris", "days": 3}
    result = function_registry.call("get_weather_forecast", arguments, server.context).result
    assert [day["date"] for day in result["days"]] == ["2026-03-28", "2026-03-29", "2026-03-30"]
    assert [day["condition"] for day in result["days"]] == ["overcast", "unknown", "weather code 42"]
    too_long = function_registry.call("get_weather_forecast", {"location": "Paris", "days": 30}, server.context)
    assert "days: " in (too_long.error or "")


def test_an_unknown_place_is_reported(server: OpenMeteo) -> None:
    assert now_at(server.context, "Nowhere").error == "No place called 'Nowhere' was found."
    assert now_at(server.context, "Paris, Spain").error == "No place called 'Paris, Spain' was found."


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((400, b'{"error": true, "reason": "Latitude must be in range"}'), "Latitude must be in range"),
        ((502, b"<html>Bad gateway</html>"), "status 502 and no JSON"),
        ((302, b""), "status 302"),
        ((200, b'{"timezone": 1}'), "form that is not understood"),
        ((200, b'{"timezone": "Europe/Paris"}'), "without the current weather"),
        ((200, b"[" + b" " * 2**21 + b"]"), "more than 1048576 bytes"),
    ],
)
def test_a_service_that_misbehaves_is_reported(server: OpenMeteo, answer: tuple[int, bytes], message: str) -> None:
    server.answer = answer
    assert message in (now_at(server.context, "Paris").error or "")


def test_offline_the_error_says_that_the_service_cannot_be_reached() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening, so that connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        error = now_at(FunctionContext(base_urls=dict.fromkeys(weather.HOSTS, url)), "Paris").error
    assert "geocoding-api.open-meteo.com cannot be reached: this server may be offline" in (error or "")


def test_the_hosts_are_declared() -> None:
    for name in ("get_current_weather", "get_weather_forecast"):
        registered = function_registry.get(name)
        assert registered
        assert registered.hosts == set(weather.HOSTS)

    calculator = function_registry.get("calculate")
    assert calculator
    assert calculator.hosts == frozenset()


def test_an_undeclared_host_is_refused() -> None:
    with pytest.raises(FunctionError, match="did not declare it"):
        FunctionContext().get_json("example.org", "/", {})
