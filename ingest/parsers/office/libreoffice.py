"""Legacy Word and PowerPoint files, and OpenDocument sheets and slides, converted by LibreOffice and then parsed."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from core.errors import DocumentRejected
from ingest.parsed_document import ParsedDocument
from ingest.parsers import detection
from ingest.parsers.source import SourceFile
from ingest.sandbox.programs import ProgramFailed, find_program, run_program

#: The format that each type is converted to.
_TARGET_SUFFIXES = {
    detection.DOC: "docx",
    detection.PPT: "pptx",
    detection.ODS: "xlsx",
    detection.ODP: "pptx",
}
_CPU_SECONDS = 90
#: The settings of the temporary profile: no macros, no active content, no links out of the file, and a closed port as
#: the proxy.
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
    """Convert the file and parse the result.

    Raises:
        DocumentRejected: If LibreOffice is not installed, takes too long, or cannot read the file.
    """
    from ingest.parsers import parse_unknown

    program = find_program("soffice", "libreoffice")
    if program is None:
        raise DocumentRejected(
            f"This type of file ({source.media_type}) needs LibreOffice (the program soffice), which is not installed "
            f"on the server. Install it and retry, or save the file as .{_TARGET_SUFFIXES[source.media_type]}.",
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
    # A symbolic link with a plain name, because LibreOffice interprets some file names, and names its output after it.
    link = folder / "document"
    link.symlink_to(source.path.absolute())
    target = _TARGET_SUFFIXES[source.media_type]
    command = [program, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--norestore",
               "--nolockcheck", "--convert-to", target, "--outdir", str(folder / "out"), str(link)]  # fmt: skip
    # Temporary files are removed with the folder, even if LibreOffice is killed.
    environment = {"HOME": str(folder), "TMPDIR": str(folder)}
    try:
        run_program(command, cpu_seconds=_CPU_SECONDS, environment=environment)
    except ProgramFailed as error:
        raise DocumentRejected(f"LibreOffice could not read the file: {error.message}".rstrip()) from error
    # LibreOffice also exits with status 0 if it could not read the file.
    converted = next((folder / "out").glob(f"*.{target}"), None) if (folder / "out").is_dir() else None
    if converted is None:
        raise DocumentRejected("The file is broken or encrypted: LibreOffice cannot read it.")
    return converted
