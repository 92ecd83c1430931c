"""The lines of iCalendar and vCard files (RFC 5545 and 6350, and their older forms): properties in components.

Ours, since libraries for them refuse a file for one faulty property, and do not read the older forms.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import DocumentRejected
from ingest.clean_text import clean_text
from ingest.parsers.charsets import bom_charset, decode
from ingest.parsers.mail.text import decode_text

#: Components deeper than this are read as those above them.
_MAX_DEPTH = 10
_MAX_PROPERTIES = 2_000_000
_LINE_END = re.compile(rb"\r\n|\n|\r")
_PROPERTY = re.compile(
    rb"(?:(?P<group>[A-Za-z0-9_-]+)\.)?(?P<name>[A-Za-z0-9-]+)[ \t]*"
    rb"(?P<parameters>(?:;(?:[^\";:]|\"[^\"]*\")*)*):(?P<value>.*)",
    re.S,
)
_PARAMETER = re.compile(r';([^;="]*)(?:=((?:"[^"]*"|[^";])*))?')
_ESCAPE = re.compile(r"\\([\\;,:nN\"])")


@dataclass(frozen=True, slots=True)
class Property:
    """A property, with its value as it is written but for its charset and transfer encoding."""

    name: str
    value: str
    #: By their names in upper case, without quotation marks.
    parameters: dict[str, str]
    #: The prefix that joins a property with the label for it, in lower case.
    group: str = ""

    @property
    def text(self) -> str:
        """The value without escapes."""
        return unescaped(self.value).strip()

    @property
    def types(self) -> list[str]:
        """The types of a property of a vCard, in lower case."""
        return [each for each in self.parameters.get("TYPE", "").lower().split(",") if each]


@dataclass(slots=True)
class Component:
    """A component, such as an event, with its properties and its inner components, in order."""

    name: str
    properties: list[Property] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)

    def all(self, name: str) -> list[Property]:
        """Return the properties of this name that have a value."""
        return [each for each in self.properties if each.name == name and each.value.strip()]

    def first(self, name: str) -> Property | None:
        """Return the first property of this name that has a value, or None."""
        return next(iter(self.all(name)), None)

    def text(self, name: str) -> str:
        """Return the text of the first property of this name, or an empty string."""
        found = self.first(name)
        return found.text if found else ""


def read_components(data: bytes) -> list[Component]:
    """Return the outermost components of a file. Lines that are no properties are skipped.

    Raises:
        DocumentRejected: If it has too many properties.
    """
    if bom_charset(data) or b"\0" in data[:100]:
        data = decode(data).encode("utf-8")
    root = Component("")
    open_components = [root]
    for count, found in enumerate(_properties(data), start=1):
        if count > _MAX_PROPERTIES:
            raise DocumentRejected(f"The file has more than {_MAX_PROPERTIES} properties. Divide it.")
        name = found.value.strip().upper()
        if found.name == "BEGIN":
            component = Component(name)
            open_components[-1].components.append(component)
            if len(open_components) <= _MAX_DEPTH:
                open_components.append(component)
        elif found.name == "END":
            # An end that was forgotten is found with that of an outer component.
            if any(each.name == name for each in open_components):
                while open_components[-1].name != name:
                    open_components.pop()
                open_components.pop()
        else:
            open_components[-1].properties.append(found)
    return root.components


def unescaped(text: str) -> str:
    """Return a value without escapes."""
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], text)


def split_value(text: str, divider: str) -> list[str]:
    """Return the parts of a value without escapes; a divider after a backslash does not divide."""
    return [unescaped(part).strip() for part in re.split(rf"(?<!\\){divider}", text)]


def _properties(data: bytes) -> Iterator[Property]:
    for line in _lines(data):
        match = _PROPERTY.match(line)
        if match is None:
            continue
        parameters = _parameters(decode(match["parameters"]))
        value = match["value"]
        if parameters.get("ENCODING", "").upper() == "QUOTED-PRINTABLE":
            value = quopri.decodestring(value)
        charset = parameters.get("CHARSET")
        text = decode_text(value, charset) if charset else clean_text(_utf8(value))
        yield Property(match["name"].decode().upper(), text, parameters, (match["group"] or b"").decode().lower())


def _lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines without folds. A fold may lie within a character, so lines are decoded afterwards."""
    parts: list[bytes] = []
    is_quoted = False
    for line in _LINE_END.split(data):
        if is_quoted and parts[-1].endswith(b"="):
            parts[-1] = parts[-1][:-1]
            parts.append(line)
        elif parts and line.startswith((b" ", b"\t")):
            parts.append(line[1:])
        else:
            yield b"".join(parts)
            parts, is_quoted = [line], b"QUOTED-PRINTABLE" in line.partition(b":")[0].upper()
    yield b"".join(parts)


def _utf8(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return decode(value)


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(text):
        name, value = match[1].strip().upper(), (match[2] or "").replace('"', "").strip()
        if match[2] is None:
            # The older form names types and encodings without the name of the parameter.
            name, value = ("ENCODING" if name in ("QUOTED-PRINTABLE", "BASE64", "B", "8BIT") else "TYPE"), name
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
