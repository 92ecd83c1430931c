"""Weather from Open-Meteo (https://open-meteo.com/en/docs), which needs no key. Data: CC BY 4.0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from inference.functions.context import FunctionContext
from inference.functions.errors import FunctionError
from inference.functions.registry import function_registry

FORECAST_HOST = "api.open-meteo.com"
GEOCODING_HOST = "geocoding-api.open-meteo.com"
HOSTS = (FORECAST_HOST, GEOCODING_HOST)

Unit = Literal["celsius", "fahrenheit"]
Location = Annotated[str, Field(min_length=1, max_length=200)]

_CURRENT = "temperature_2m,apparent_temperature,relative_humidity_2m,precipitation,weather_code,wind_speed_10m"
_DAILY = "weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum,precipitation_probability_max"

#: The codes of WMO table 4677 that Open-Meteo uses.
CONDITIONS = {
    0: "clear sky",
    1: "mainly clear",
    2: "partly cloudy",
    3: "overcast",
    45: "fog",
    48: "freezing fog",
    51: "light drizzle",
    53: "drizzle",
    55: "heavy drizzle",
    56: "light freezing drizzle",
    57: "freezing drizzle",
    61: "light rain",
    63: "rain",
    65: "heavy rain",
    66: "light freezing rain",
    67: "freezing rain",
    71: "light snow",
    73: "snow",
    75: "heavy snow",
    77: "snow grains",
    80: "light showers",
    81: "showers",
    82: "violent showers",
    85: "light snow showers",
    86: "snow showers",
    95: "thunderstorm",
    96: "thunderstorm with light hail",
    99: "thunderstorm with heavy hail",
}


@dataclass(frozen=True)
class Place:
    """A place on the map, with a label that tells the user which one was chosen."""

    label: str
    latitude: float
    longitude: float


class _Current(BaseModel):
    time: str
    temperature_2m: float
    apparent_temperature: float | None = None
    relative_humidity_2m: float | None = None
    precipitation: float | None = None
    weather_code: int | None = None
    wind_speed_10m: float | None = None


class _Daily(BaseModel):
    time: list[str]
    weather_code: list[int | None]
    temperature_2m_max: list[float | None]
    temperature_2m_min: list[float | None]
    precipitation_sum: list[float | None]
    precipitation_probability_max: list[float | None]


class _Answer(BaseModel):
    timezone: str
    current: _Current | None = None
    daily: _Daily | None = None


@function_registry.register(hosts=HOSTS)
def get_current_weather(context: FunctionContext, location: Location, unit: Unit = "celsius") -> dict[str, Any]:
    """Return the current weather at a place.

    Args:
        location: A city or a postal code, such as "Paris" or "Paris, Texas".
        unit: Unit of the temperatures.
    """
    place = find_place(context, location)
    answer = _ask(context, place, {"current": _CURRENT, "temperature_unit": unit})
    if answer.current is None:
        raise FunctionError("The weather service answered without the current weather.")
    now = answer.current
    return {
        "location": place.label,
        "time": now.time,
        "timezone": answer.timezone,
        "condition": _condition(now.weather_code),
        "temperature": now.temperature_2m,
        "feels_like": now.apparent_temperature,
        "unit": unit,
        "humidity_percent": now.relative_humidity_2m,
        "precipitation_mm": now.precipitation,
        "wind_kmh": now.wind_speed_10m,
    }


@function_registry.register(hosts=HOSTS)
def get_weather_forecast(
    context: FunctionContext, location: Location, days: Annotated[int, Field(ge=1, le=16)] = 3, unit: Unit = "celsius"
) -> dict[str, Any]:
    """Return the weather forecast for a place, day by day, today first.

    Args:
        location: A city or a postal code, such as "Paris" or "Paris, Texas".
        days: How many days, today included.
        unit: Unit of the temperatures.
    """
    place = find_place(context, location)
    answer = _ask(context, place, {"daily": _DAILY, "forecast_days": days, "temperature_unit": unit})
    if answer.daily is None:
        raise FunctionError("The weather service answered without a forecast.")
    return {"location": place.label, "timezone": answer.timezone, "unit": unit, "days": _days(answer.daily)}


def find_place(context: FunctionContext, location: str) -> Place:
    """Return the best match for a place's name; text after a comma selects among places with the same name.

    Raises:
        FunctionError: if there is no match, or the service does not answer.
    """
    name, _, qualifier = (part.strip() for part in location.partition(","))
    answer = context.get_json(GEOCODING_HOST, "/v1/search", {"name": name, "count": 10, "format": "json"})
    try:
        matches = [_Match.model_validate(entry) for entry in answer.get("results") or []]
    except (ValidationError, AttributeError) as error:
        raise FunctionError("The place service answered in a form that is not understood.") from error
    fitting = [match for match in matches if match.fits(qualifier)] if qualifier else matches
    if not fitting:
        raise FunctionError(f"No place called {location!r} was found.")
    return fitting[0].place


class _Match(BaseModel):
    name: str
    latitude: float
    longitude: float
    country: str | None = None
    country_code: str | None = None
    admin1: str | None = None
    admin2: str | None = None

    def fits(self, qualifier: str) -> bool:
        """Return whether each part of a qualifier such as "Texas, US" begins the name of a region or country."""
        known = [part.lower() for part in (self.country, self.country_code, self.admin1, self.admin2) if part]
        wanted = [part.strip().lower() for part in qualifier.split(",") if part.strip()]
        return all(any(name.startswith(part) for name in known) for part in wanted)

    @property
    def place(self) -> Place:
        label = ", ".join(part for part in (self.name, self.admin1, self.country) if part)
        return Place(label, self.latitude, self.longitude)


def _ask(context: FunctionContext, place: Place, params: dict[str, str | int | float]) -> _Answer:
    where: dict[str, str | int | float] = {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "timezone": "auto",
    }
    try:
        return _Answer.model_validate(context.get_json(FORECAST_HOST, "/v1/forecast", where | params))
    except ValidationError as error:
        raise FunctionError("The weather service answered in a form that is not understood.") from error


def _days(daily: _Daily) -> list[dict[str, Any]]:
    columns = zip(
        daily.time,
        daily.weather_code,
        daily.temperature_2m_max,
        daily.temperature_2m_min,
        daily.precipitation_sum,
        daily.precipitation_probability_max,
        strict=False,  # if a column is shorter, the forecast ends there
    )
    return [
        {
            "date": day,
            "condition": _condition(code),
            "high": high,
            "low": low,
            "precipitation_mm": rain,
            "precipitation_probability_percent": probability,
        }
        for day, code, high, low, rain, probability in columns
    ]


def _condition(code: int | None) -> str:
    return CONDITIONS.get(code, f"weather code {code}") if code is not None else "unknown"
