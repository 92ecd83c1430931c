"""The headers of an e-mail: those that people read, decoded, and not what servers write for each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.message import Message
from email.policy import Compat32

from ingest.parsed_document import readable
from ingest.parsers.mail.text import header_text, unfolded

Headers = Sequence[tuple[str, str]]

#: In this order they stand above the body, before all others.
HEADERS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject")
MESSAGE_ID = "Message-ID"
#: Longer than the type or the name of any part; the standard library takes time that grows with the square.
_LONGEST_PARAMETERS = 16 * 1024
#: What programs write for programs.
_TRANSPORT = frozenset(
    (
        "received-spf", "return-path", "delivered-to", "envelope-to", "delivery-date", "mime-version", "message-id",
        "thread-topic", "thread-index", "user-agent", "autocrypt", "feedback-id", "precedence", "auto-submitted",
        "xref", "errors-to", "original-recipient", "original-message-id", "accept-language", "acceptlanguage",
        "mail-followup-to", "mail-reply-to", "disposition-notification-to", "return-receipt-to", "archived-at",
        "injection-info", "injection-date", "cancel-lock", "cancel-key", "nntp-posting-host", "nntp-posting-date",
        "message-context", "dl-expansion-history", "require-recipient-valid-since", "tls-required",
        "resent-message-id",
    )
)  # fmt: skip
#: What people write under these names looks otherwise.
_TRANSPORT_BY_VALUE = {
    "received": re.compile(r"from\b|by\b|\("),
    "references": re.compile(r"<"),
    "in-reply-to": re.compile(r"<"),
    "status": re.compile(r"[ROADFNUT]+$"),
}
_TRANSPORT_FAMILIES = (
    "x-", "arc-", "dkim-", "domainkey-", "authentication-", "content-", "list-", "bimi-", "ironport-", "msip-", "msip_",
    "ms-exchange-", "cfbl-", "spamdiagnostic", "snapshot-content-", "old-x-", "delivered-",
)  # fmt: skip


class MailPolicy(Compat32):
    """Reads headers as text, whatever is in them: the policies of the standard library raise on some."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        """The value in one line, bytes outside ASCII decoded."""
        if name.lower().startswith("content-"):
            value = value[:_LONGEST_PARAMETERS]
        return readable(unfolded(value))


def people_headers(message: Message, charset: str | None = None) -> Headers:
    """The headers that people write or read, in their order.

    Args:
        charset: the one of the body; headers may be in it without saying so.
    """
    found: dict[str, list[tuple[str, str]]] = {name.lower(): [] for name in HEADERS}
    for name, raw in message.raw_items():
        key = name.lower()
        if key in _TRANSPORT or key.startswith(_TRANSPORT_FAMILIES):
            continue
        value = header_text(str(raw), charset)
        by_program = _TRANSPORT_BY_VALUE.get(key)
        if value and not (by_program and by_program.match(value)):
            found.setdefault(key, []).append((name, value))
    usual = [(name, value) for name in HEADERS for _, value in found.pop(name.lower())]
    return [*usual, *(header for headers in found.values() for header in headers)]


def first(headers: Iterable[tuple[str, str]], name: str) -> str:
    """The value of the first header of this name, empty if there is none."""
    return next((value for key, value in headers if key.lower() == name.lower()), "")
