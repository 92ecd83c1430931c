"""Rewrites OpenDocument text files so that pandoc reads all their text.

pandoc reads paragraphs, lists, tables and notes. It ignores the text of text boxes, shapes, comments, form controls,
fields, headers and footers, so this text is moved next to the paragraphs that it belongs to.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsers.archives import FILE_ERRORS
from ingest.parsers.pandoc import open_document_text
from ingest.parsers.pandoc.open_document_names import DUBLIN_CORE, OFFICE
from ingest.parsers.safe_xml import xml_parser

_CONTENT = "content.xml"
_STYLES, _META = "styles.xml", "meta.xml"
_TITLE = f"{{{OFFICE}}}meta/{{{DUBLIN_CORE}}}title"
_BINARY = re.compile(rb"<office:binary-data>[^<]*+</office:binary-data>")
_ZIP = b"PK"
_FORMULA = re.compile(rb"<(?:\w+:)?math\b")
_HEAD_BYTES = 2048
#: The elements of a flat OpenDocument file that belong to the content part and to the styles part.
_IN_CONTENT = ("font-face-decls", "automatic-styles", "body")
_IN_STYLES = ("font-face-decls", "styles", "automatic-styles", "master-styles")


def prepare(path: Path, folder: Path) -> Path:
    """Return the path of a file with all its text readable for pandoc: `path` itself, or a file written to `folder`.

    Raises:
        DocumentRejected: If the file is broken.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP)) == _ZIP
        return _prepare_archive(path, folder) if is_archive else _prepare_flat(path, folder)
    except FILE_ERRORS as error:
        raise DocumentRejected(f"The file is broken: its text cannot be read ({error}).") from error


def read_title(path: Path) -> str:
    """Return the title in the properties of a document, or an empty string if it has none or they are broken."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                data = archive.read(_META)
        else:
            data = _BINARY.sub(b"", path.read_bytes())
        return _parse_xml(data).findtext(f".//{_TITLE}") or ""
    except FILE_ERRORS:
        # They are not text; the document is read without them.
        return ""


def read_picture(path: Path, name: str) -> bytes | None:
    """Return a picture of a document, or None if the document does not have it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name.removeprefix("./"))
    except FILE_ERRORS:
        return None


def _prepare_archive(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if not {_CONTENT, _STYLES} <= names:
            # pandoc fails on this file and reports what is missing.
            return path
        content, styles = (_parse_xml(archive.read(name)) for name in (_CONTENT, _STYLES))
        formulas = _formulas(archive)
        if not open_document_text.prepare(content, styles, formulas):
            return path
        # pandoc needs no other parts; for pictures it writes only the names.
        needed = {name: archive.read(name) for name in (_STYLES, *(f"{folder}/{_CONTENT}" for folder in formulas))}
    return _write_archive(folder, {**needed, _CONTENT: etree.tostring(content)})


def _formulas(archive: zipfile.ZipFile) -> frozenset[str]:
    """Return the folders of the embedded objects that are formulas."""
    parts = [name for name in archive.namelist() if name.endswith(f"/{_CONTENT}")]
    return frozenset(name.removesuffix(f"/{_CONTENT}") for name in parts if _is_formula(archive, name))


def _is_formula(archive: zipfile.ZipFile, name: str) -> bool:
    with archive.open(name) as part:
        return _FORMULA.search(part.read(_HEAD_BYTES)) is not None


def _prepare_flat(path: Path, folder: Path) -> Path:
    """Split a flat OpenDocument file, a single XML file with embedded pictures, into the parts that pandoc reads."""
    root = _parse_xml(_BINARY.sub(b"", path.read_bytes()))
    parts = {}
    for name, kind, wanted in ((_CONTENT, "content", _IN_CONTENT), (_STYLES, "styles", _IN_STYLES)):
        part = etree.Element(f"{{{OFFICE}}}document-{kind}", nsmap=root.nsmap)
        # Copies, because an element can have only one parent.
        part.extend([_copy_element(child) for child in root if child.tag in [f"{{{OFFICE}}}{tag}" for tag in wanted]])
        if part.find(f"{{{OFFICE}}}styles") is None and name == _STYLES:
            # pandoc rejects a file without styles.
            etree.SubElement(part, f"{{{OFFICE}}}styles")
        parts[name] = part
    open_document_text.prepare(parts[_CONTENT], parts[_STYLES], frozenset())
    return _write_archive(folder, {name: etree.tostring(part) for name, part in parts.items()})


def _copy_element(element: etree._Element) -> etree._Element:
    return etree.fromstring(etree.tostring(element, with_tail=False), xml_parser())


def _parse_xml(data: bytes) -> etree._Element:
    return etree.fromstring(data, xml_parser())


def _write_archive(folder: Path, parts: dict[str, bytes]) -> Path:
    path = folder / "text.odt"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path
