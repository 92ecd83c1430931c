"""The package of a Word, Excel or PowerPoint file: XML parts and the relationships between them.

It adapts the file to what the libraries can read: the namespaces of Strict Open XML are replaced by those of
Transitional, the content types of templates and macro-enabled files by those of plain documents, and broken parts are
removed.
"""

from __future__ import annotations

import errno
import io
import posixpath
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsed_document import ParsedDocument
from ingest.parsers.archives import FILE_ERRORS
from ingest.parsers.safe_xml import xml_parser

#: lxml has no type annotations.
Element = Any

CONTENT_TYPES = "[Content_Types].xml"
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#: The attributes that refer to a relationship.
R_ID, R_DM = f"{{{RELATIONSHIPS}}}id", f"{{{RELATIONSHIPS}}}dm"
#: Broken parts of these kinds are not dropped, because main text would silently be missing.
_ESSENTIAL_KINDS = frozenset(("officeDocument", "slide", "worksheet", "sharedStrings"))
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_ROOT_RELATIONSHIPS = "_rels/.rels"
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")
_STRICT_MARK = b"http://purl.oclc.org/ooxml/"
#: The two relationship names that Strict spells differently (ISO/IEC 29500-4, annex A).
_RENAMED = {b"extendedProperties": b"extended-properties", b"customProperties": b"custom-properties"}
_MAIN_TYPE = re.compile(
    rb"application/vnd\.(?:ms-word|ms-excel|ms-powerpoint|openxmlformats-officedocument\.\w+)"
    rb"\.(?:document|template|sheet|addin|presentation|slideshow)"
    rb"(?:\.macroEnabled(?:Template)?)?\.main\+xml"
)
_PLAIN_TYPES = {
    "word": b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
    "xl": b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
    "ppt": b"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml",
}
#: Folders of parts without text; the parts are written empty into a changed copy.
_FOLDERS_WITHOUT_TEXT = frozenset(("media", "embeddings", "fonts"))


def xml_tree(data: bytes) -> Element:
    """Parse a part and return its root. Entities are not expanded, and nothing is fetched.

    Raises:
        SyntaxError: If it is not well-formed, or exceeds libxml2's limits of depth or length.
    """
    return etree.fromstring(data, xml_parser())


@dataclass(frozen=True, slots=True)
class Relationship:
    """A link from one part to another."""

    id: str
    #: The last segment of its type: `footnotes`, `chart`, …
    kind: str
    #: The name of the part that it leads to.
    target: str


class Package:
    """The parts of an Office file. Changes made with `put` appear in the copy that `file` returns."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._names = dict.fromkeys(archive.namelist())
        self._changed: dict[str, bytes] = {}
        self._normalised: dict[str, bytes] = {}
        self._relationships: dict[str, list[Relationship]] = {}
        #: The charts and diagrams whose text was already returned.
        self.emitted: set[str] = set()
        #: The parts that were skipped because they are broken, missing, or not readable by a library.
        self.not_read: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def read(self, name: str) -> bytes:
        """Return a part's content.

        Raises:
            KeyError: If there is no such part.
            ValueError, BadZipFile, zlib.error, EOFError: If it cannot be unpacked.
        """
        if name in self._changed:
            return self._changed[name]
        with _damage_as_value_error():
            return self._archive.read(name)

    def open(self, name: str) -> IO[bytes]:
        """Return a part's content as an open file, which the caller closes. For parts that are too large for `read`.

        Raises:
            KeyError: If there is no such part.
        """
        return io.BytesIO(self._changed[name]) if name in self._changed else self._archive.open(name)

    def tree(self, name: str) -> Element:
        """Parse an XML part and return its root.

        Raises:
            SyntaxError: If it is not well-formed XML.
            Exception: As `read`.
        """
        return xml_tree(self.read(name))

    def put(self, name: str, data: bytes) -> None:
        """Replace the content of a part."""
        self._changed[name] = data

    @property
    def main(self) -> str:
        """The name of the main document part.

        Raises:
            ValueError: If there is none.
        """
        for relationship in self.relationships(""):
            if relationship.kind == "officeDocument":
                return relationship.target
        raise ValueError("no part of it is the document")

    def relationships(self, name: str) -> list[Relationship]:
        """Return a part's links to other parts, or the package's own if the name is empty.

        Links out of the file are not included.
        """
        if name not in self._relationships:
            part = _relationships_part(name)
            found = (_relationship(name, element) for element in _links(self.tree(part))) if part in self else ()
            self._relationships[name] = [relationship for relationship in found if relationship is not None]
        return self._relationships[name]

    @property
    def title(self) -> str:
        """The title in the properties of the document, or an empty string if it has none or they are broken."""
        for name in self.related("", "core-properties"):
            try:
                return self.tree(name).findtext(_TITLE) or ""
            except FILE_ERRORS:
                # They are not text; the document is read without them.
                continue
        return ""

    def related(self, name: str, kind: str) -> list[str]:
        """Return the names of the parts that a part links to by relationships of this kind."""
        return [relationship.target for relationship in self.relationships(name) if relationship.kind == kind]

    def file(self) -> IO[bytes]:
        """Return the package as an open file, which the caller closes: the original if nothing was changed."""
        if not self._changed:
            return self._path.open("rb")
        copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in self._names:
                archive.writestr(name, b"" if _FOLDERS_WITHOUT_TEXT & set(name.split("/")) else self.read(name))
        copy.seek(0)
        return copy

    def normalise(self) -> None:
        """Translate Strict to Transitional, and content types of templates and macro-enabled files to plain ones."""
        if _STRICT_MARK in self.read(_ROOT_RELATIONSHIPS) or _STRICT_MARK in self.read(self.main):
            for name in self._names:
                if name.endswith((".xml", ".rels", ".vml")):
                    self._replace(name, _STRICT, _transitional)
        family = _PLAIN_TYPES.get(self.main.partition("/")[0])
        if family is not None:
            self._replace(CONTENT_TYPES, _MAIN_TYPE, lambda _: family)
        self._normalised = dict(self._changed)
        self._relationships.clear()

    def drop_broken_parts(self) -> bool:
        """Remove the parts that cannot be read, and the links to them, unless one of them is essential.

        This also undoes all changes made with `put` and clears `emitted`, so that the package can be read again.

        Returns:
            Whether anything was removed.
        """
        self._changed = dict(self._normalised)
        self.emitted.clear()
        owners = [""] + [_owner(name) for name in self._names if _is_relationships(name)]
        links = {owner: self.relationships(owner) for owner in dict.fromkeys(owners)}
        kinds = {link.target: link.kind for found in links.values() for link in found}
        bad = {name for name in kinds if not self._is_well_formed(name)}
        if not bad or any(kinds[name] in _ESSENTIAL_KINDS for name in bad):
            return False
        for owner, found in links.items():
            if any(link.target in bad for link in found):
                self._unlink(owner, bad)
        self._names = dict.fromkeys(name for name in self._names if name not in bad)
        self._relationships.clear()
        self.not_read = sorted(bad)
        return True

    def _replace(self, name: str, pattern: re.Pattern[bytes], replacement: Callable[[re.Match[bytes]], bytes]) -> None:
        before = self.read(name)
        after = pattern.sub(replacement, before)
        if after != before:
            self._changed[name] = after

    def _is_well_formed(self, name: str) -> bool:
        try:
            data = self.read(name)
            if name.endswith((".xml", ".rels")):
                xml_tree(data)
        except FILE_ERRORS:
            return False
        return True

    def _unlink(self, owner: str, bad: set[str]) -> None:
        root = self.tree(_relationships_part(owner))
        for element in _links(root):
            relationship = _relationship(owner, element)
            if relationship is not None and relationship.target in bad:
                root.remove(element)
        self.put(_relationships_part(owner), etree.tostring(root))


@contextmanager
def _open_package(path: Path) -> Iterator[Package]:
    with zipfile.ZipFile(path) as archive:
        package = Package(path, archive)
        package.normalise()
        yield package


@contextmanager
def _damage_as_value_error() -> Iterator[None]:
    """Turn an OSError caused by a damaged file into a ValueError; other OSErrors, such as a full disk, pass through.

    `zipfile` fails with EINVAL if a damaged directory makes it seek to an invalid offset; openpyxl sets no errno.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(str(error)) from error


def read_package(
    path: Path, read: Callable[[Package], ParsedDocument], *, file_kind: str, errors: tuple[type[Exception], ...] = ()
) -> ParsedDocument:
    """Parse a file with `read`; if that fails, try again without the file's broken parts.

    The document's metadata lists the skipped parts as `parts_not_read`.

    Args:
        path: The file.
        read: The function that parses the package.
        file_kind: The name of the file's kind in an error message, for example "Word document".
        errors: The exceptions that the library raises in addition to `FILE_ERRORS`.

    Raises:
        DocumentRejected: If the file cannot be read without its broken parts either.
    """
    broken: tuple[type[Exception], ...] = (*FILE_ERRORS, *errors)
    try:
        with _open_package(path) as package:
            try:
                with _damage_as_value_error():
                    document = read(package)
            except broken:
                if not package.drop_broken_parts():
                    raise
                with _damage_as_value_error():
                    document = read(package)
            if not package.not_read:
                return document
            return replace(document, metadata={**document.metadata, "parts_not_read": ", ".join(package.not_read)})
    except broken as error:
        raise DocumentRejected(f"The {file_kind} is broken: {error}".rstrip(".") + ".") from error


def _transitional(match: re.Match[bytes]) -> bytes:
    family, name = match.groups()
    return b"http://schemas.openxmlformats.org/%s/2006/%s" % (family, _RENAMED.get(name, name))


def _relationships_part(name: str) -> str:
    folder, file = posixpath.split(name)
    return posixpath.join(folder, "_rels", f"{file}.rels")


def _is_relationships(name: str) -> bool:
    return name.endswith(".rels") and posixpath.basename(posixpath.dirname(name)) == "_rels"


def _owner(name: str) -> str:
    """Return the part whose relationships the given part holds."""
    folder, file = posixpath.split(name)
    return posixpath.join(posixpath.dirname(folder), file.removesuffix(".rels"))


def _links(root: Element) -> list[Element]:
    return [element for element in root if isinstance(element.tag, str)]


def _relationship(owner: str, element: Element) -> Relationship | None:
    if element.get("TargetMode") == "External":
        return None
    target = posixpath.normpath(posixpath.join("/", posixpath.dirname(owner), element.get("Target") or ""))
    return Relationship(element.get("Id") or "", (element.get("Type") or "").rpartition("/")[2], target.lstrip("/"))
