"""The headers of an e-mail that people read, decoded, without those that servers write for each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.message import Message
from email.policy import Compat32

from ingest.clean_text import clean_text
from ingest.parsers.mail.text import header_text, unfold_header

Headers = Sequence[tuple[str, str]]

#: The order of the usual headers above the body, before all others.
HEADERS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject")
MESSAGE_ID = "Message-ID"
#: Longer than the type and name of any real part. The standard library's run time grows with the square of the length.
_MAX_PARAMETER_CHARACTERS = 16 * 1024
#: Headers that programs write for programs.
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
#: Headers that are for programs only if the value matches; people write other values under these names.
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
    """Reads any header as text; the policies of the standard library raise on some malformed headers."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        """Return the value on one line, with non-ASCII bytes decoded."""
        if name.lower().startswith("content-"):
            value = value[:_MAX_PARAMETER_CHARACTERS]
        return clean_text(unfold_header(value))


def visible_headers(message: Message, charset: str | None = None) -> Headers:
    """Return the headers that people write or read: the usual ones first, then the others in their order.

    Args:
        message: The message.
        charset: The charset of the body. Headers may be in it without declaring it.
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


def first_value(headers: Iterable[tuple[str, str]], name: str) -> str:
    """Return the value of the first header of this name, or an empty string if there is none."""
    return next((value for key, value in headers if key.lower() == name.lower()), "")
