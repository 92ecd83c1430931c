"""Contacts (vCard): each person or organisation as a record.

Ours, since libraries for contacts yield their properties and not a text of them.
"""

from __future__ import annotations

import re

from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers import text
from ingest.parsers.records.content_lines import Component, Property, read_components, split_value
from ingest.parsers.source import SourceFile

_LABELS = {
    "NICKNAME": "Nickname",
    "ORG": "Organisation",
    "TITLE": "Title",
    "ROLE": "Role",
    "TEL": "Phone",
    "EMAIL": "E-mail",
    "IMPP": "Chat",
    "ADR": "Address",
    "LABEL": "Address label",
    "URL": "Link",
    "BDAY": "Birthday",
    "ANNIVERSARY": "Anniversary",
    "RELATED": "Related",
    "MEMBER": "Member",
    "GENDER": "Gender",
    "LANG": "Language",
    "EXPERTISE": "Expertise",
    "HOBBY": "Hobby",
    "INTEREST": "Interest",
    "CATEGORIES": "Categories",
    "NOTE": "Note",
}
#: Properties of vendors that people fill in.
_EXTENSIONS = {"X-SKYPE": "Skype", "X-JABBER": "Jabber", "X-AIM": "AIM", "X-ICQ": "ICQ", "X-MSN": "MSN",
               "X-TWITTER": "Twitter", "X-SOCIALPROFILE": "Profile", "X-SPOUSE": "Spouse", "X-MANAGER": "Manager",
               "X-ASSISTANT": "Assistant", "X-ABDATE": "Date", "X-ABRELATEDNAMES": "Related",
               "X-PHONETIC-FIRST-NAME": "Pronounced", "X-PHONETIC-LAST-NAME": "Pronounced"}  # fmt: skip
#: Types that say nothing to people.
_UNREAD_TYPES = frozenset(("pref", "internet", "voice", "x-internet", "uri", "text", "dom", "intl", "postal", "parcel"))
_APPLE_LABEL = re.compile(r"_\$!<(.*)>!\$_")
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T.*)?", re.ASCII)


def parse(source: SourceFile) -> ParsedDocument:
    """Parse each contact as one line. Pictures, sounds and keys are left out.

    Raises:
        DocumentRejected: If there are too many properties.
    """
    builder = DocumentBuilder()
    for contact in read_components(source.path.read_bytes()):
        if contact.name == "VCARD":
            builder.add(ElementKind.TABLE, _record(contact))
    document = builder.build(source.media_type)
    return document if document.elements else text.parse(source)


def _record(contact: Component) -> str:
    labels = {each.group: _apple_label(each.text) for each in contact.all("X-ABLABEL") if each.group}
    parts = [f"Contact: {_name(contact)}"]
    for name, label in (_LABELS | _EXTENSIONS).items():
        for found in contact.all(name):
            words = _value(found)
            kinds = [labels[found.group]] if found.group in labels else found.types
            shown = ", ".join(kind.lower() for kind in kinds if kind.lower() not in _UNREAD_TYPES)
            parts.append(f"{label}{f' ({shown})' if shown else ''}: {words}" if words else "")
    return "; ".join(" ".join(part.split()) for part in parts if part)


def _name(contact: Component) -> str:
    if name := contact.text("FN"):
        return name
    parts = contact.first("N")
    if parts is None:
        return contact.text("ORG").replace(";", ", ") or "without a name"
    family, given, middle, prefix, suffix = [*split_value(parts.value, ";"), *[""] * 5][:5]
    return " ".join(filter(None, (prefix, given, middle, family, suffix)))


def _value(found: Property) -> str:
    if found.name in ("ORG", "ADR", "GENDER"):
        parts = split_value(found.value, ";")
        return ", ".join(filter(None, (part.replace("\n", ", ") for part in parts)))
    if found.name in ("CATEGORIES", "NICKNAME"):
        return ", ".join(split_value(found.value, ","))
    if found.name in ("BDAY", "ANNIVERSARY", "X-ABDATE"):
        return _DATE.sub(r"\1-\2-\3", found.text)
    return re.sub(r"^(?:mailto|tel):", "", found.text, flags=re.I)


def _apple_label(text: str) -> str:
    match = _APPLE_LABEL.fullmatch(text)
    return match[1] if match else text
