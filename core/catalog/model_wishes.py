"""What is wanted of the language models: which are to be loaded or unloaded, and which is the default one."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.tables import model_wishes


@dataclass(frozen=True)
class ModelWish:
    """What is wanted of a model. `model` is the slug of its name; times are Unix seconds by the database's clock."""

    model: str
    wanted_at: float | None = None
    unwanted_at: float | None = None
    is_default: bool = False


class ModelWishQueries(MigratedDatabase):
    """The part of the catalog about what is wanted of language models."""

    def model_wishes(self) -> list[ModelWish]:
        """Return the wishes for all models that anyone has asked for."""
        with self._read() as connection:
            return [ModelWish(**row._mapping) for row in connection.execute(sa.select(model_wishes))]

    def want_model(self, model: str) -> None:
        """Record that a model is to be loaded."""
        self._record(model, wanted_at=self._now())

    def unwant_model(self, model: str) -> None:
        """Record that a model is to be unloaded."""
        self._record(model, unwanted_at=self._now())

    def set_default_model(self, model: str) -> None:
        """Make a model the one that answers requests which name no known model."""
        self._record(model, is_default=True)

    def _record(self, model: str, **values: float | bool) -> None:
        def write(connection: sa.Connection) -> None:
            if values.get("is_default"):
                connection.execute(sa.update(model_wishes).values(is_default=False))
            same = model_wishes.c.model == model
            if connection.execute(sa.update(model_wishes).where(same).values(**values)).rowcount == 0:
                connection.execute(sa.insert(model_wishes).values(model=model, **values))

        self._write_retried(write)
