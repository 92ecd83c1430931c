"""Legacy Word and PowerPoint files, and OpenDocument sheets and slides: LibreOffice converts them first."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from core.errors import DocumentRejected
from ingest.parsed_document import ParsedDocument
from ingest.parsers import detection
from ingest.parsers.source import SourceFile
from ingest.sandbox.programs import ProgramFailed, find_program, run_program

#: What LibreOffice makes of each type.
_TARGETS = {
    detection.DOC: "docx",
    detection.PPT: "pptx",
    detection.ODS: "xlsx",
    detection.ODP: "pptx",
}
_SECONDS = 90
#: Written into the private profile: no macros, no links out of the file, no updates.
_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting">
<prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop>
<prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop>
<prop oor:name="DisableActiveContent" oor:op="fuse"><value>true</value></prop>
</item>
<item oor:path="/org.openoffice.Inet/Settings">
<prop oor:name="ooInetProxyType" oor:op="fuse"><value>2</value></prop>
<prop oor:name="ooInetHTTPProxyName" oor:op="fuse"><value>127.0.0.1</value></prop>
<prop oor:name="ooInetHTTPProxyPort" oor:op="fuse"><value>9</value></prop>
<prop oor:name="ooInetHTTPSProxyName" oor:op="fuse"><value>127.0.0.1</value></prop>
<prop oor:name="ooInetHTTPSProxyPort" oor:op="fuse"><value>9</value></prop>
</item>
</oor:items>
"""


def parse(source: SourceFile) -> ParsedDocument:
    """What the converted file says.

    Raises:
        DocumentRejected: LibreOffice is not installed, takes too long, or cannot read the file.
    """
    from ingest.parsers import parse_unknown

    program = find_program("soffice", "libreoffice")
    if program is None:
        raise DocumentRejected(
            f"This type of file ({source.media_type}) needs LibreOffice (the program soffice), which is not installed "
            f"on the server. Install it and retry, or save the file as .{_TARGETS[source.media_type]}.",
            code="unsupported_file",
        )
    with tempfile.TemporaryDirectory(prefix="libreoffice-") as directory:
        converted = _convert(program, source, Path(directory))
        document = parse_unknown(converted, converted.name, source.options, depth=source.depth)
    return replace(document, media_type=source.media_type)


def _convert(program: str, source: SourceFile, folder: Path) -> Path:
    profile = folder / "profile" / "user"
    profile.mkdir(parents=True)
    (profile / "registrymodifications.xcu").write_text(_PROFILE, encoding="utf-8")
    # A link with a plain name: LibreOffice reads commands in some names, and names the result after it.
    link = folder / "document"
    link.symlink_to(source.path.absolute())
    target = _TARGETS[source.media_type]
    command = [program, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--norestore",
               "--nolockcheck", "--convert-to", target, "--outdir", str(folder / "out"), str(link)]  # fmt: skip
    # Its temporary files go with the folder, even if it is killed.
    places = {"HOME": str(folder), "TMPDIR": str(folder)}
    try:
        run_program(command, timeout_seconds=_SECONDS, environment=places)
    except ProgramFailed as error:
        raise DocumentRejected(f"LibreOffice could not read the file: {error.message}".rstrip()) from error
    # It ends without an error, too, if it could not read the file.
    converted = next((folder / "out").glob(f"*.{target}"), None) if (folder / "out").is_dir() else None
    if converted is None:
        raise DocumentRejected("The file is broken or encrypted: LibreOffice cannot read it.")
    return converted
