"""Files of every type, each with the text that must be found in it, or the expected reason for its rejection."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass

from tests.unit.ingest import files
from tests.unit.ingest.files import FACT, MARKDOWN, Make, by_libreoffice, by_pandoc, picture
from tests.unit.ingest.ole import ole_bytes
from tests.unit.ingest.support import docx_bytes, pdf_bytes, zip_bytes

RECORD = "city: Vienna; price: 41"
ROW = "| Vienna | 41 |"


@dataclass(frozen=True)
class File:
    """A file and the text that must be found in it."""

    name: str
    make: Make
    texts: tuple[str, ...] = (FACT,)
    #: The section of the element with the first of the texts.
    section: str | None = None
    page: int | None = None


def encoded(text: str, charset: str = "utf-8") -> Make:
    return lambda: text.encode(charset)


HTML = f"<!doctype html><h1>Timetable</h1><p>{FACT}</p><table><tr><th>city<th>price<tr><td>Vienna<td>41</table>"
LATIN = "<html><meta charset='iso-8859-2'><body><h1>Jízdní řád</h1><p>Vlak do Vídně stojí 41.</p></body></html>"
XML = f"<?xml version='1.0'?><line><title>Timetable</title><note>{FACT}</note><fare city='Vienna'>41</fare></line>"
NOTEBOOK = json.dumps({"nbformat": 4, "cells": [{"cell_type": "markdown", "source": ["# Timetable\n", FACT]}]})
ORG = f'#+TITLE: Timetable\n#+INCLUDE: "/etc/passwd"\n* Trains\n{FACT}\n| city | price |\n|--+--|\n| Vienna | 41 |\n'
RULE = "====== =====\n"
RST = f"Timetable\n=========\n\n.. include:: /etc/passwd\n\n{FACT}\n\n{RULE}city   price\n{RULE}Vienna 41\n{RULE}"
RTF = r"{\rtf1\ansi\ansicpg1251\deff0{\fonttbl{\f0\fcharset204 Arial;}}\f0 \'cf\'ee\'e5\'e7\'e4 " + FACT + r"\par}"
CODE = f"def fare(city):\n    # {FACT}\n    return 41\n"

PARSED = [
    File("note.txt", encoded(FACT)),
    File("utf16.txt", encoded(FACT, "utf-16")),
    File("cyrillic.txt", encoded("Поезд в Вену отправляется в девять часов вечера.", "cp1251"), ("Поезд в Вену",)),
    File("guide.md", encoded(MARKDOWN), (FACT, ROW), "Timetable"),
    File("guide.rst", encoded(RST), (FACT, RECORD), "Timetable"),
    File("guide.org", encoded(ORG), (FACT, RECORD), "Timetable > Trains"),
    File("page.html", encoded(HTML), (FACT, RECORD), "Timetable"),
    File("latin2.html", encoded(LATIN, "iso-8859-2"), ("Vlak do Vídně stojí 41.",), "Jízdní řád"),
    File("line.xml", encoded(XML), (f"note: {FACT}", "fare city: Vienna", "fare: 41"), "Timetable"),
    File("data.json", encoded(json.dumps({"fact": FACT, "price": 41}))),
    File("log.jsonl", encoded(f'{{"city": "Vienna", "price": 41}}\n{{"fact": "{FACT}"}}\n'), (RECORD, f"fact: {FACT}")),
    File("log.json", encoded(f'{{"city": "Vienna", "price": 41}}\n{{"fact": "{FACT}"}}\n'), (RECORD,)),
    File("work.ipynb", encoded(NOTEBOOK), (FACT,), "Timetable"),
    File("prices.csv", encoded("city,price\nVienna,41\nRome,57\n"), (RECORD,)),
    File("prices.tsv", encoded("city\tprice\nVienna\t41\n"), (RECORD,)),
    File("prices.xlsx", files.workbook, (RECORD, FACT), "Prices"),
    File("prices.xls", files.old_workbook, (RECORD, FACT), "Prices"),
    File("report.docx", files.word, (FACT, RECORD), "Timetable"),
    File("report.odt", by_pandoc("odt"), (FACT, RECORD, "book early"), "Timetable"),
    File("report.rtf", encoded(RTF, "latin-1"), (FACT, "Поезд")),
    File("pandoc.rtf", by_pandoc("rtf"), (FACT, RECORD)),
    File("book.epub", by_pandoc("epub"), (FACT, RECORD), "Timetable"),
    File("talk.pptx", files.slides, (FACT,), "Timetable", 1),
    File("mail.eml", lambda: bytes(files.email()), (FACT, "Jörg <joerg@example.com>", RECORD), "Fahrplan für Wien"),
    File("page.eml", lambda: bytes(files.html_email()), (FACT, RECORD), "Page > Timetable"),
    File("inbox.mbox", files.mailbox, (FACT, "Subject: Fahrplan für Wien", "Subject: Page")),
    File("mail.msg", files.outlook, (FACT, "From: Ann <ann@example.com>", RECORD), "Timetable"),
    File("paper.pdf", files.pdf, (FACT, "Vienna: 41"), "Timetable", 1),
    File("tool.py", encoded(CODE), ("def fare(city):",)),
    File("tool.go", encoded(f"// {FACT}\nfunc fare() int {{\n\treturn 41\n}}\n"), ("func fare() int {",)),
    File("Dockerfile", encoded(f"# {FACT}\nFROM scratch\n"), ("FROM scratch",)),
    # Wrong names
    File("word.txt", files.word, (FACT, RECORD), "Timetable"),
    File("pdf.docx", files.pdf, (FACT,), "Timetable", 1),
    File("text.pdf", encoded(FACT)),
    File("page.xls", encoded(HTML), (FACT, RECORD), "Timetable"),
    File("table.xls", encoded("city\tprice\nVienna\t41\n"), (RECORD,)),
    File("rich.doc", encoded(RTF, "latin-1")),
    File("mail.txt", lambda: bytes(files.email()), (FACT, RECORD), "Fahrplan für Wien"),
    File("book", by_pandoc("epub"), (FACT, RECORD), "Timetable"),
    File("broken.xml", encoded(f"<a><b>{FACT}</a>")),
    File("broken.json", encoded(f'{{"fact": "{FACT}", ')),
]
SCANNED = [
    File("photo.png", picture("png"), page=1),
    File("photo.jpg", picture("jpeg"), page=1),
    File("fax.tiff", files.fax, (FACT, "Vienna costs 41."), page=1),
    File("scan.pdf", files.scan, (FACT, "Vienna costs 41."), page=1),
    File("photo.pdf", picture("png"), page=1),
]
CONVERTED = [
    File("report.doc", by_libreoffice(by_pandoc("docx"), "docx", "doc"), (FACT, RECORD), "Timetable"),
    File("talk.ppt", by_libreoffice(files.slides, "pptx", "ppt"), (FACT,), page=1),
    File("prices.ods", by_libreoffice(files.workbook, "xlsx", "ods"), (RECORD, FACT), "Prices"),
]
REJECTED = [
    ("empty.txt", encoded(""), "The file is empty"),
    ("blank.html", encoded("<html><body></body></html>"), "there is no text in it"),
    ("blank.pdf", lambda: pdf_bytes([[]]), "no text was found"),
    ("locked.pdf", lambda: pdf_bytes([[FACT]], password="x"), "Remove the password"),
    ("locked.docx", lambda: ole_bytes({"EncryptedPackage": b"x" * 5000}), "Remove the password"),
    ("locked.doc", lambda: ole_bytes({"WordDocument": bytes(10) + b"\0\1" + bytes(5000)}), "Remove the password"),
    ("locked.odt", lambda: zip_bytes({"mimetype": b"application/vnd.oasis.opendocument.text",
                                      "META-INF/manifest.xml": b"<manifest:encryption-data/>"}), "Remove the password"),
    ("cut.pdf", lambda: files.pdf()[:200], "is broken"),
    ("cut.docx", lambda: files.word()[:3000], "is broken"),
    ("cut.odt", lambda: by_pandoc("odt")()[:3000], "is broken"),
    ("cut.xls", lambda: files.old_workbook()[:1500], "is broken"),
    ("cut.msg", lambda: files.outlook()[:700], "is broken"),
    ("hollow.odt", lambda: zip_bytes({"mimetype": b"application/vnd.oasis.opendocument.text"}), "is broken"),
    ("hollow.epub", lambda: zip_bytes({"mimetype": b"application/epub+zip"}), "is broken"),
    ("bomb.docx", lambda: zip_bytes({"word/document.xml": bytes(64 * 2**20)}), "times are allowed"),
    ("bomb.epub", lambda: zip_bytes({"mimetype": b"application/epub+zip", "x": bytes(2**26)}), "times are allowed"),
    ("files.zip", lambda: zip_bytes({"note.txt": FACT.encode()}), "Drop the files in it instead"),
    ("note.txt.gz", lambda: gzip.compress(FACT.encode()), "Unpack it"),
    ("program", lambda: b"\x7fELF" + bytes(200), "is not supported"),
    ("blank.docx", lambda: docx_bytes(lambda document: None), "there is no text in it"),
]  # fmt: skip
