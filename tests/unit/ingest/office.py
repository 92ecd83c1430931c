"""Office files with constructs that the libraries cannot write: XML parts are inserted into files that they wrote."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping

from tests.unit.ingest.support import docx_bytes

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
C = "http://schemas.openxmlformats.org/drawingml/2006/chart"
DGM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
M = "http://schemas.openxmlformats.org/officeDocument/2006/math"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"
WP = "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"
NAMESPACES = (
    f'xmlns:w="{W}" xmlns:r="{R}" xmlns:a="{A}" xmlns:c="{C}" xmlns:dgm="{DGM}" xmlns:m="{M}" xmlns:mc="{MC}" '
    f'xmlns:wp="{WP}" xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
)
CHART = f"""<c:chartSpace xmlns:c="{C}" xmlns:a="{A}"><c:chart>
<c:title><c:tx><c:rich><a:bodyPr/><a:p><a:r><a:t>Fares by city</a:t></a:r></a:p></c:rich></c:tx></c:title>
<c:plotArea><c:barChart><c:ser><c:tx><c:strRef><c:strCache><c:pt idx="0"><c:v>Adults</c:v></c:pt></c:strCache>
</c:strRef></c:tx><c:cat><c:strRef><c:strCache><c:pt idx="0"><c:v>Vienna</c:v></c:pt><c:pt idx="1"><c:v>Rome</c:v>
</c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache><c:pt idx="0"><c:v>41</c:v></c:pt><c:pt idx="1">
<c:v>57</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser></c:barChart></c:plotArea></c:chart></c:chartSpace>"""
DIAGRAM = f"""<dgm:dataModel xmlns:dgm="{DGM}" xmlns:a="{A}"><dgm:ptLst><dgm:pt modelId="1"><dgm:t><a:bodyPr/>
<a:p><a:r><a:t>Book the train</a:t></a:r></a:p></dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>"""


def with_parts(data: bytes, parts: Mapping[str, str | bytes], *, without: tuple[str, ...] = ()) -> bytes:
    """Return a package with parts added, replaced or removed."""
    copy = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            if name not in parts and name not in without:
                target.writestr(name, source.read(name))
        for name, content in parts.items():
            target.writestr(name, content)
    return copy.getvalue()


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def part(data: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name).decode()


def linked(data: bytes, owner: str, *links: tuple[str, str, str]) -> bytes:
    """Return a package with relationships added to the part `owner`, each as its id, type and target."""
    folder, _, file = owner.rpartition("/")
    name = f"{folder}/_rels/{file}.rels"
    try:
        xml = part(data, name)
    except KeyError:
        xml = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"></Relationships>'
    new = "".join(f'<Relationship Id="{key}" Type="{kind}" Target="{target}"/>' for key, kind, target in links)
    return with_parts(data, {name: xml.replace("</Relationships>", new + "</Relationships>")})


def typed(data: bytes, types: Mapping[str, str]) -> bytes:
    """Return a package that declares the content types of these parts."""
    new = "".join(f'<Override PartName="/{name}" ContentType="{kind}"/>' for name, kind in types.items())
    xml = part(data, "[Content_Types].xml")
    return with_parts(data, {"[Content_Types].xml": xml.replace("</Types>", new + "</Types>")})


def word_file(body: str, parts: Mapping[str, str] | None = None, *links: tuple[str, str]) -> bytes:
    """Return a Word file with this body and further parts in `word/`.

    Args:
        body: The XML of the body.
        parts: The content of further parts, by name.
        links: The id and the kind (the last segment of the type) of the relationship to each part, in the same order.
    """
    data = docx_bytes(lambda document: None)
    document = f"<w:document {NAMESPACES}><w:body>{body}<w:sectPr/></w:body></w:document>"
    data = with_parts(
        data, {"word/document.xml": document, **{f"word/{name}": xml for name, xml in (parts or {}).items()}}
    )
    related = [(key, f"{R}/{kind}", name) for (key, kind), name in zip(links, parts or {}, strict=True)]
    return linked(data, "word/document.xml", *related)


def p(text: str, extra: str = "") -> str:
    return f'<w:p><w:r><w:t xml:space="preserve">{text}</w:t></w:r>{extra}</w:p>'


def r(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def strict(data: bytes) -> bytes:
    """Return a package converted to Strict Open XML, as Office saves it."""
    parts = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith((".xml", ".rels")):
                content = archive.read(name).decode()
                content = content.replace("extended-properties", "extendedProperties")
                parts[name] = re.sub(
                    r"http://schemas\.openxmlformats\.org/(?!package|markup)(\w+)/2006/",
                    r"http://purl.oclc.org/ooxml/\1/",
                    content,
                )
    return with_parts(data, parts)
