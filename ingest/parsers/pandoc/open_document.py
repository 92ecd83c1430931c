"""OpenDocument texts as pandoc reads all of them: what it passes over is put where it does not.

pandoc knows the paragraphs, lists, tables and notes of a text. Text boxes, shapes, comments, form elements, fields,
headers and footers have paragraphs, too, which are moved beside those that they belong to.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsers.archives import BROKEN_FILE
from ingest.parsers.pandoc import open_document_text
from ingest.parsers.pandoc.open_document_names import OFFICE
from ingest.parsers.safe_xml import xml_parser

_CONTENT = "content.xml"
_STYLES = "styles.xml"
_BINARY = re.compile(rb"<office:binary-data>[^<]*+</office:binary-data>")
_ZIP = b"PK"
_FORMULA = re.compile(rb"<(?:\w+:)?math\b")
_HEAD_BYTES = 2048
#: Of one file of XML: what goes into the part of its content, and what into that of its styles.
_IN_CONTENT = ("font-face-decls", "automatic-styles", "body")
_IN_STYLES = ("font-face-decls", "styles", "automatic-styles", "master-styles")


def prepared(path: Path, folder: Path) -> Path:
    """The path of the text as pandoc reads all of it: the text's own, or that of a file written into `folder`.

    Raises:
        DocumentRejected: the file is broken.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP)) == _ZIP
        return _prepared_archive(path, folder) if is_archive else _prepared_flat(path, folder)
    except BROKEN_FILE as error:
        raise DocumentRejected(f"The file is broken: its text cannot be read ({error}).") from error


def _prepared_archive(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if not {_CONTENT, _STYLES} <= names:
            # pandoc says what is missing.
            return path
        content, styles = (_root(archive.read(name)) for name in (_CONTENT, _STYLES))
        formulas = _formulas(archive)
        if not open_document_text.prepare(content, styles, formulas):
            return path
        # pandoc needs no more: of pictures it only writes the names.
        needed = {name: archive.read(name) for name in (_STYLES, *(f"{place}/{_CONTENT}" for place in formulas))}
    return _written(folder, {**needed, _CONTENT: etree.tostring(content)})


def _formulas(archive: zipfile.ZipFile) -> frozenset[str]:
    """The folders of objects that are formulas."""
    parts = [name for name in archive.namelist() if name.endswith(f"/{_CONTENT}")]
    return frozenset(name.removesuffix(f"/{_CONTENT}") for name in parts if _is_formula(archive, name))


def _is_formula(archive: zipfile.ZipFile, name: str) -> bool:
    with archive.open(name) as part:
        return _FORMULA.search(part.read(_HEAD_BYTES)) is not None


def _prepared_flat(path: Path, folder: Path) -> Path:
    """One file of XML, without an archive; pictures lie in it."""
    root = _root(_BINARY.sub(b"", path.read_bytes()))
    parts = {}
    for name, kind, wanted in ((_CONTENT, "content", _IN_CONTENT), (_STYLES, "styles", _IN_STYLES)):
        part = etree.Element(f"{{{OFFICE}}}document-{kind}", nsmap=root.nsmap)
        # A copy: an element has one place only.
        part.extend([_copy(child) for child in root if child.tag in [f"{{{OFFICE}}}{tag}" for tag in wanted]])
        if part.find(f"{{{OFFICE}}}styles") is None and name == _STYLES:
            # pandoc refuses a text without them.
            etree.SubElement(part, f"{{{OFFICE}}}styles")
        parts[name] = part
    open_document_text.prepare(parts[_CONTENT], parts[_STYLES], frozenset())
    return _written(folder, {name: etree.tostring(part) for name, part in parts.items()})


def _copy(element: etree._Element) -> etree._Element:
    return etree.fromstring(etree.tostring(element, with_tail=False), xml_parser())


def _root(data: bytes) -> etree._Element:
    return etree.fromstring(data, xml_parser())


def _written(folder: Path, parts: dict[str, bytes]) -> Path:
    path = folder / "text.odt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path
