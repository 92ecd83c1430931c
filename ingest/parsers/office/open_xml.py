"""The package that a Word, Excel or PowerPoint file is: parts of XML and the relationships between them.

It gives the libraries that read these files what they expect: Strict Open XML in the namespaces of Transitional, the
content types of templates and of files with macros as those of plain documents, and nothing of parts that are broken.
"""

from __future__ import annotations

import errno
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
from ingest.parsers.archives import BROKEN_FILE
from ingest.parsers.safe_xml import xml_parser

#: lxml has no types.
Element = Any

CONTENT_TYPES = "[Content_Types].xml"
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
#: The attributes by which XML names a relationship.
R_ID, R_DM = f"{{{RELATIONSHIPS}}}id", f"{{{RELATIONSHIPS}}}dm"
#: Without one of these parts, text would be missing that nobody would miss.
_ESSENTIAL = frozenset(("officeDocument", "slide", "worksheet", "sharedStrings"))
_ROOT_RELATIONSHIPS = "_rels/.rels"
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")
_STRICT_MARK = b"http://purl.oclc.org/ooxml/"
#: ISO/IEC 29500-4, annex A: the two names that differ by more than the year.
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
#: Folders of parts that no text is read from: left empty in a copy.
_WITHOUT_TEXT = frozenset(("media", "embeddings", "fonts"))


def xml_tree(data: bytes) -> Element:
    """The root of a part. Entities stay as they are, and nothing is fetched.

    Raises:
        SyntaxError: it is not well-formed, or nested or long beyond libxml2's limits.
    """
    return etree.fromstring(data, xml_parser())


@dataclass(frozen=True, slots=True)
class Relationship:
    """One part's link to another."""

    id: str
    #: The last word of its type: `footnotes`, `chart`, …
    kind: str
    #: The part's name.
    target: str


class Package:
    """The parts of an Office file. What is put into it goes into the copy that `file` gives."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._names = dict.fromkeys(archive.namelist())
        self._changed: dict[str, bytes] = {}
        self._normalised: dict[str, bytes] = {}
        self._relationships: dict[str, list[Relationship]] = {}
        #: Charts and diagrams whose text was given out.
        self.shown: set[str] = set()
        #: Parts that are broken, or named and not there, or that a library cannot read.
        self.not_read: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def read(self, name: str) -> bytes:
        """A part's content.

        Raises:
            KeyError, ValueError, BadZipFile, zlib.error, EOFError: it is not there, or cannot be unpacked.
        """
        if name in self._changed:
            return self._changed[name]
        with _faults_of_the_file():
            return self._archive.read(name)

    def tree(self, name: str) -> Element:
        """The root of a part of XML.

        Raises:
            SyntaxError, and what `read` raises: it is broken.
        """
        return xml_tree(self.read(name))

    def put(self, name: str, data: bytes) -> None:
        """Gives a part another content."""
        self._changed[name] = data

    @property
    def main(self) -> str:
        """The name of the part that everything else hangs on.

        Raises:
            ValueError: there is none.
        """
        for relationship in self.relationships(""):
            if relationship.kind == "officeDocument":
                return relationship.target
        raise ValueError("no part of it is the document")

    def relationships(self, name: str) -> list[Relationship]:
        """A part's links to others; those of the package if the name is empty. Links out of the file are left out."""
        if name not in self._relationships:
            part = _relationships_part(name)
            found = (_relationship(name, element) for element in _links(self.tree(part))) if part in self else ()
            self._relationships[name] = [relationship for relationship in found if relationship is not None]
        return self._relationships[name]

    def related(self, name: str, kind: str) -> list[str]:
        """The names of the parts that a part links to by relationships of this kind."""
        return [relationship.target for relationship in self.relationships(name) if relationship.kind == kind]

    def file(self) -> IO[bytes]:
        """The package as a file, to be closed by the caller: the original if nothing was put into it."""
        if not self._changed:
            return self._path.open("rb")
        copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in self._names:
                archive.writestr(name, b"" if _WITHOUT_TEXT & set(name.split("/")) else self.read(name))
        copy.seek(0)
        return copy

    def normalise(self) -> None:
        """Translates Strict Open XML, and the content types of templates and of files with macros."""
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
        """Takes out the parts that cannot be read, and the links to them, if none of them is essential.

        What was put into the package is taken back, and nothing counts as shown any more.

        Returns:
            Whether anything was taken out.
        """
        self._changed = dict(self._normalised)
        self.shown.clear()
        owners = [""] + [_owner(name) for name in self._names if _is_relationships(name)]
        links = {owner: self.relationships(owner) for owner in dict.fromkeys(owners)}
        kinds = {link.target: link.kind for found in links.values() for link in found}
        bad = {name for name in kinds if not self._is_sound(name)}
        if not bad or any(kinds[name] in _ESSENTIAL for name in bad):
            return False
        for owner, found in links.items():
            if any(link.target in bad for link in found):
                self._unlink(owner, bad)
        self._names = dict.fromkeys(name for name in self._names if name not in bad)
        self._relationships.clear()
        self.not_read = sorted(bad)
        return True

    def _replace(self, name: str, pattern: re.Pattern[bytes], with_what: Callable[[re.Match[bytes]], bytes]) -> None:
        before = self.read(name)
        after = pattern.sub(with_what, before)
        if after != before:
            self._changed[name] = after

    def _is_sound(self, name: str) -> bool:
        try:
            data = self.read(name)
            if name.endswith((".xml", ".rels")):
                xml_tree(data)
        except BROKEN_FILE:
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
def _opened(path: Path) -> Iterator[Package]:
    with zipfile.ZipFile(path) as archive:
        package = Package(path, archive)
        package.normalise()
        yield package


@contextmanager
def _faults_of_the_file() -> Iterator[None]:
    """Tells them from those of the machine: zipfile seeks where a damaged directory says, openpyxl has no number."""
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(str(error)) from error


def read_package(
    path: Path, read: Callable[[Package], ParsedDocument], *, called: str, errors: tuple[type[Exception], ...] = ()
) -> ParsedDocument:
    """What `read` makes of a file; where it fails, what it makes of the file without its broken parts.

    Parts that could not be read are named in the document's metadata as `parts_not_read`.

    Args:
        called: what the file is called in the reason, "Word document" for example.
        errors: what the library raises beside `BROKEN_FILE`.

    Raises:
        DocumentRejected: it is broken beyond that.
    """
    broken: tuple[type[Exception], ...] = (*BROKEN_FILE, *errors)
    try:
        with _opened(path) as package:
            try:
                with _faults_of_the_file():
                    document = read(package)
            except broken:
                if not package.drop_broken_parts():
                    raise
                with _faults_of_the_file():
                    document = read(package)
            if not package.not_read:
                return document
            return replace(document, metadata={**document.metadata, "parts_not_read": ", ".join(package.not_read)})
    except broken as error:
        raise DocumentRejected(f"The {called} is broken: {error}".rstrip(".") + ".") from error


def _transitional(match: re.Match[bytes]) -> bytes:
    family, name = match.groups()
    return b"http://schemas.openxmlformats.org/%s/2006/%s" % (family, _RENAMED.get(name, name))


def _relationships_part(name: str) -> str:
    folder, file = posixpath.split(name)
    return posixpath.join(folder, "_rels", f"{file}.rels")


def _is_relationships(name: str) -> bool:
    return name.endswith(".rels") and posixpath.basename(posixpath.dirname(name)) == "_rels"


def _owner(name: str) -> str:
    """The part whose relationships a part holds."""
    folder, file = posixpath.split(name)
    return posixpath.join(posixpath.dirname(folder), file.removesuffix(".rels"))


def _links(root: Element) -> list[Element]:
    return [element for element in root if isinstance(element.tag, str)]


def _relationship(owner: str, element: Element) -> Relationship | None:
    if element.get("TargetMode") == "External":
        return None
    target = posixpath.normpath(posixpath.join("/", posixpath.dirname(owner), element.get("Target") or ""))
    return Relationship(element.get("Id") or "", (element.get("Type") or "").rpartition("/")[2], target.lstrip("/"))
