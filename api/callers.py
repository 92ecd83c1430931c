"""Who sends a request, and what that lets it see and change."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import PermissionDenied
from core.keys import DEFAULT_OWNER, KeyRights, Reach, Scope


@dataclass(frozen=True)
class Caller:
    """The bearer of a request's key. It is found once, when the request arrives."""

    #: The key's short id: "" without keys, and never the key itself.
    key: str
    rights: KeyRights
    #: The tokens that the key has used today, as of some seconds ago.
    tokens_today: int = 0

    @property
    def owner(self) -> str:
        return self.rights.owner

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.rights.scopes

    @property
    def reach(self) -> Reach:
        """What it may see, and if it made it, change."""
        return Reach(None if self.is_admin else self.owner, self.rights.collections)

    @property
    def readable(self) -> tuple[str, ...] | None:
        """The names of the only collections that it may read; None: all."""
        return self.rights.collections if self.has(Scope.DOCUMENTS_READ) else ()

    @property
    def job_reach(self) -> Reach:
        """The jobs that it may see: those of its owner whose keys could read no more collections than this one."""
        return Reach(self.reach.owner, self.readable)

    def has(self, scope: Scope) -> bool:
        """Return whether the key has a scope. An admin key has all of them."""
        return self.is_admin or scope in self.rights.scopes

    def require(self, *scopes: Scope) -> None:
        """Raise PermissionDenied unless the key has all of these scopes. The error's code names the missing one."""
        for scope in scopes:
            if not self.has(scope):
                message = f"This API key lacks the scope {scope.value}."
                raise PermissionDenied(message, code=f"missing_scope:{scope.value}")

    def require_collection(self, name: str) -> None:
        """Raise PermissionDenied if the key is limited to other collections, whether or not there is such a one."""
        if not self.reach.sees(name):
            raise PermissionDenied(
                f"This API key is limited to other collections than {name!r}.",
                param="collection",
                code="collection_not_allowed",
            )

    def require_own(self, what: str, owner: str) -> None:
        """Raise PermissionDenied if something that the caller sees was made by another owner."""
        if not self.reach.owns(owner):
            raise PermissionDenied(
                f"{what} belongs to another owner, who alone may change it (or an admin key).", code="not_the_owner"
            )

    def may_use_model(self, name: str) -> bool:
        """Return whether the key may use the model of this name."""
        return self.rights.models is None or name in self.rights.models


#: Sends a request while there are no keys, or with a key of API_KEYS.
ADMIN_RIGHTS = KeyRights(owner=DEFAULT_OWNER, scopes=(Scope.ADMIN,))
ANONYMOUS = Caller("", ADMIN_RIGHTS)
