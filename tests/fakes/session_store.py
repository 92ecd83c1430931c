"""Sessions in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.errors import LlmApiError


@dataclass
class FakeSessions:
    """Holds the digests of keys by tokens. `failure` makes every call fail, as if Redis did not answer."""

    held: dict[str, bytes] = field(default_factory=dict)
    failure: LlmApiError | None = None

    async def create(self, key_digest: bytes) -> str:
        self._check()
        token = f"token-{len(self.held)}"
        self.held[token] = key_digest
        return token

    async def find(self, token: str) -> bytes | None:
        self._check()
        return self.held.get(token)

    async def end(self, token: str) -> None:
        self._check()
        self.held.pop(token, None)

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
