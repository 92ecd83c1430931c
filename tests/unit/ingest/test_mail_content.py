"""All text of an e-mail is read once, and every attached file is read, or named with the reason why not."""

from __future__ import annotations

import base64
import binascii
import time

import pytest

from tests.programs import NEEDS_TESSERACT
from tests.unit.ingest import files
from tests.unit.ingest.files import FACT
from tests.unit.ingest.mails import BASE64_FACT, lines_of, mail, multipart, part, plain_mail
from tests.unit.ingest.support import Read

PLAIN, HTML = "text/plain; charset=utf-8", "text/html; charset=utf-8"
NOT_READ = "This attachment was not read: "
PAGE = "<html><body><h1>Timetable</h1>" + "".join(f"<p>Train {n} to Vienna costs {n}1.</p>" for n in range(30))


def body(read: Read, content: bytes) -> list[str]:
    """Return the lines below the headers."""
    lines = lines_of(read("mail.eml", mail(content)).text)
    return list(lines[lines.index("Subject: Trains") + 1 :])


def attached_picture(content_type: str, *headers: str) -> bytes:
    data = binascii.b2a_base64(files.picture("png")()).decode()
    return part(content_type, data, "Content-Transfer-Encoding: base64", *headers)


# The text


def test_every_text_of_a_mail_is_read_in_order(read: Read) -> None:
    content = multipart(
        "mixed",
        part(PLAIN, "First."),
        part('text/csv; name="prices.csv"', "city,price\nVienna,41\n", "Content-Disposition: inline"),
        part(PLAIN, "Second."),
        part(HTML, "<p>Third.</p>"),
        multipart("mixed", part(PLAIN, "Footer of the list.")),
    )
    assert body(read, content) == [
        "First.", "Second.", "Third.", "Footer of the list.", "Attachment: prices.csv", "city | price",
        "city: Vienna; price: 41",
    ]  # fmt: skip


def test_text_below_the_last_part_is_read(read: Read) -> None:
    assert body(read, multipart("mixed", part(PLAIN, "First.")) + b"\nBelow all.\n") == ["First.", "Below all."]


@pytest.mark.parametrize(
    "stub", ["", " \n\n", "Please read this in a program that shows HTML.", "View online: https://x.example/1"]
)
def test_the_page_is_read_if_its_plain_alternative_says_little(read: Read, stub: str) -> None:
    lines = body(read, multipart("alternative", part(PLAIN, stub), part(HTML, PAGE)))
    assert lines[:2] == ["Timetable", "Train 0 to Vienna costs 01."]
    assert len(lines) == 31


def test_the_plain_alternative_is_read_if_it_has_all_words_of_the_page(read: Read) -> None:
    lines = body(
        read, multipart("alternative", part(PLAIN, FACT), part(HTML, f"<style>p {{x: y}}</style><p>{FACT}</p>"))
    )
    assert lines == [FACT]


def test_alternatives_with_different_words_are_both_read(read: Read) -> None:
    page = "<p>Der Nachtzug nach Wien fährt um neun Uhr ab.</p>"
    lines = body(read, multipart("alternative", part(PLAIN, FACT), part(HTML, page)))
    assert lines == ["Der Nachtzug nach Wien fährt um neun Uhr ab.", FACT]


def test_text_only_in_the_page_is_read_and_the_rest_is_read_once(read: Read) -> None:
    plain = f"Your order\n\n{FACT} https://example.com/1\n\nP.S. Bring your dog."
    page = f"<h1>Your order</h1><table><tr><td>One lantern<td>12 EUR</table><p>{FACT}</p>"
    lines = body(read, multipart("alternative", part(PLAIN, plain), part(HTML, page)))
    assert lines == ["Your order", "One lantern", "12 EUR", FACT, "P.S. Bring your dog."]


def test_alternatives_without_spaces_between_words_are_compared(read: Read) -> None:
    plain, page = "夜行列車は九時\nに出発します。", "<p>夜行列車は九時に<b>出発</b>します。</p>"
    lines = body(read, multipart("alternative", part(PLAIN, plain), part(HTML, page)))
    assert lines == plain.split("\n")


def test_files_and_texts_inside_alternatives_are_read(read: Read) -> None:
    rich = multipart("mixed", part(HTML, f"<p>{FACT}</p>"), part('text/csv; name="a.csv"', "city\nVienna\n"))
    event = part("text/calendar; method=REQUEST", "BEGIN:VEVENT\nSUMMARY:Night train\nEND:VEVENT")
    lines = body(
        read, multipart("alternative", part(PLAIN, FACT), rich, event, part("text/x-amp-html", "<p>again</p>"))
    )
    assert lines == [FACT, "Attachment: a.csv", "city", "Vienna", "Attachment: part-2.ics", "Event: Night train"]


def test_an_unusual_alternative_is_read_if_it_is_the_only_one(read: Read) -> None:
    assert f"<bold>{FACT}</bold>" in body(read, multipart("alternative", part("text/enriched", f"<bold>{FACT}</bold>")))


def test_a_multipart_whose_boundaries_are_not_found_is_text(read: Read) -> None:
    assert FACT in body(read, part("multipart/mixed", f"--x\n\n{FACT}\n--x--"))
    assert FACT in body(read, part("multipart/mixed; boundary=y", f"--x\n\n{FACT}\n--x--"))


def test_html_declared_as_plain_text_is_read_as_html(read: Read) -> None:
    assert body(read, part(PLAIN, f"<html><body><p>{FACT}</p></body></html>")) == [FACT]


# Encodings


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("text/plain", "Jízdní řád do Vídně".encode()),
        ("text/plain; charset=iso-8859-1", "Jízdní řád do Vídně".encode()),
        ("text/plain; charset=us-ascii", "Jízdní řád do Vídně".encode()),
        ("text/plain; charset=unknown-8bit", "Jízdní řád do Vídně".encode()),
        ("text/plain; charset=base64", "Jízdní řád do Vídně".encode()),
        ("text/plain; charset=undefined", "Jízdní řád do Vídně".encode()),
        ("text/plain; charset=iso-8859-2", "Jízdní řád do Vídně".encode("iso-8859-2")),
        ("text/plain; charset*=us-ascii''iso-8859-2", "Jízdní řád do Vídně".encode("iso-8859-2")),
        ("text/html", "<meta charset='iso-8859-2'><p>Jízdní řád do Vídně</p>".encode("iso-8859-2")),
        ("text/html; charset=utf-16", "<p>Jízdní řád do Vídně</p>".encode("utf-16")),
    ],
)
def test_a_text_is_decoded_whatever_charset_it_declares(read: Read, content_type: str, data: bytes) -> None:
    encoded = part(content_type, binascii.b2a_base64(data).decode(), "Content-Transfer-Encoding: base64")
    assert body(read, encoded) == ["Jízdní řád do Vídně"]
    if b"\0" not in data:
        raw = part(content_type, "", "Content-Transfer-Encoding: 8bit") + data
        assert body(read, raw) == ["Jízdní řád do Vídně"]


def test_windows_1252_is_decoded_if_latin_1_is_declared(read: Read) -> None:
    assert body(read, part("text/plain; charset=iso-8859-1", "") + b"\x93Vienna\x94 \x96 \x80 41") == [
        "“Vienna” – € 41"
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"{BASE64_FACT[:24]}\n\n{BASE64_FACT[24:]}", [FACT]),
        (BASE64_FACT[:-1], [FACT]),
        (BASE64_FACT[:-3], [FACT[:-2]]),
        (f"{BASE64_FACT}\n\n_______\nThe list's footer", [FACT, "_______", "The list's footer"]),
        (f"{FACT}\nIt is not in base64.", [FACT, "It is not in base64."]),
    ],
)
def test_a_text_in_broken_base64_is_read_as_far_as_possible(read: Read, text: str, lines: list[str]) -> None:
    assert body(read, part(PLAIN, text, "Content-Transfer-Encoding: BASE64")) == lines


def test_a_text_in_broken_quoted_printable_is_read(read: Read) -> None:
    text = "100 =% of the f=C3=BCnf trains=\n go =ZZ to Vienna="
    assert body(read, part(PLAIN, text, "Content-Transfer-Encoding: quoted-printable")) == [
        "100 =% of the fünf trains go =ZZ to Vienna"
    ]


def test_wrapped_lines_of_format_flowed_are_joined(read: Read) -> None:
    text = "The night train \nto Vienna \nleaves at nine.\nNew line.\n> quoted \n> words\n>> deeper\n"
    text += " From a stuffed line\n-- \nAnn"
    assert body(read, part("text/plain; format=flowed", text)) == [
        "The night train to Vienna leaves at nine.", "New line.", "> quoted words", ">> deeper", "From a stuffed line",
        "-- ", "Ann",
    ]  # fmt: skip
    assert body(read, part("text/plain; format=flowed; delsp=yes", "night \ntrain  \nleaves")) == ["nighttrain leaves"]


def test_uuencoded_files_are_attachments(read: Read) -> None:
    data = b"city,price\nVienna,41\n"
    encoded = "".join(binascii.b2a_uu(data[at : at + 45]).decode() for at in range(0, len(data), 45))
    text = f"See below.\n\nbegin 644 prices.csv\n{encoded}`\nend\n\nAnn\nbegin 1 the work\nand then end\n"
    assert body(read, part(PLAIN, text)) == [
        "See below.", "Ann", "begin 1 the work", "and then end", "Attachment: prices.csv", "city | price",
        "city: Vienna; price: 41",
    ]  # fmt: skip
    # Text that only looks like an encoded file is not changed
    assert "begin 644 the work" in body(read, part(PLAIN, "begin 644 the work\nit is not a file\nend\n"))


# Files


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("filename*=utf-8''Fahrpl%C3%A4ne.csv", "Fahrpläne.csv"),
        ("filename*0*=utf-8''Fahr; filename*1*=pl%C3%A4ne; filename*2=.csv", "Fahrpläne.csv"),
        ('filename="=?utf-8?B?RmFocnBsw6RuZS5jc3Y=?="', "Fahrpläne.csv"),
        ('filename="=?utf-8?Q?Fahr?=\n =?utf-8?Q?pl=C3=A4ne.csv?="', "Fahrpläne.csv"),
        ("filename=Fahrpläne.csv", "Fahrpläne.csv"),
        ("filename*=nonsense''Fahrplan.csv", "Fahrplan.csv"),
        (f"filename*{'9' * 5000}=x", "part-1.csv"),
    ],
)
def test_names_of_files_are_decoded(read: Read, header: str, name: str) -> None:
    attached = part("text/csv", "city\nVienna\n", f"Content-Disposition: attachment; {header}")
    assert body(read, multipart("mixed", attached)) == [f"Attachment: {name}", "city", "Vienna"]


def test_a_text_file_is_read_in_the_charset_that_the_mail_declares(read: Read) -> None:
    attached = part('text/plain; charset=koi8-r; name="a.txt"', "") + "Поезд".encode("koi8-r")
    assert body(read, multipart("mixed", part(PLAIN, "x"), attached)) == ["x", "Attachment: a.txt", "Поезд"]


@NEEDS_TESSERACT
def test_attached_pictures_are_read_and_pictures_in_the_page_are_not(read: Read) -> None:
    shown = attached_picture(
        "image/png", "Content-ID: <logo@example.com>", 'Content-Disposition: inline; filename="l.png"'
    )
    page = multipart("related", part(HTML, '<p>See.</p><img src="cid:logo@example.com">'), shown)
    assert body(read, page) == ["See."]
    attached = attached_picture(
        "image/png", "Content-ID: <1@x>", 'Content-Disposition: attachment; filename="scan.png"'
    )
    inline = attached_picture("image/png", "Content-ID: <2@x>", 'Content-Disposition: inline; filename="photo.png"')
    assert body(read, multipart("mixed", page, attached, inline)) == [
        "See.", "Attachment: scan.png", FACT, "Attachment: photo.png", FACT,
    ]  # fmt: skip


def test_pictures_that_cannot_be_read_are_named(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    scan = attached_picture('image/png; name="scan.png"', "Content-ID: <1@x>", "Content-Disposition: attachment")
    lines = body(read, multipart("related", part(HTML, '<p>See.</p><img src="cid:1@x">'), scan))
    assert lines[:2] == ["See.", "Attachment: scan.png"]
    assert lines[2].startswith(f"{NOT_READ}")


def test_a_saved_page_is_read_without_its_styles_and_pictures(read: Read) -> None:
    content = multipart(
        "related", part(HTML, f"<p>{FACT}</p>", "Content-Location: https://example.com/"),
        attached_picture("image/png", "Content-Location: https://example.com/logo.png"),
        part("text/css", "p { color: red }", "Content-Location: https://example.com/style.css"),
    )  # fmt: skip
    data = mail(content, "From: <Saved by Blink>\nSubject: Trains\nMIME-Version: 1.0")
    assert lines_of(read("page.mhtml", data).text)[-1] == FACT


def test_a_delivery_report_is_read_completely(read: Read) -> None:
    status = (
        "Reporting-MTA: dns; mx.example.com\nArrival-Date: today\n\nFinal-Recipient: rfc822; a@x\nStatus: 5.1.1\n\n"
    )
    status += "Final-Recipient: rfc822; b@x\nStatus: 4.2.2\nDiagnostic-Code: smtp; mailbox full"
    returned = "Received: by x with SMTP; today\nFrom: ann@example.com\nSubject: Night train\nMessage-ID: <1@x>\n"
    content = multipart("report", part(PLAIN, "It was not delivered."), part("message/delivery-status", status),
                        part("text/rfc822-headers", returned))  # fmt: skip
    text = "\n".join(body(read, content))
    for expected in ("It was not delivered.", *lines_of(status), "Subject: Night train"):
        assert expected in text


def test_partial_and_external_messages_are_named(read: Read) -> None:
    piece = body(read, part('message/partial; id="1@x"; number=2; total=3', FACT))
    assert piece == ["Attachment: part-1", FACT]
    elsewhere = part('message/external-body; access-type=URL; URL="https://example.com/a.pdf"', "Content-Type: a/b\n\n")
    lines = body(read, multipart("mixed", part(PLAIN, FACT), elsewhere))
    assert lines[:2] == [FACT, "Attachment: part-1"]
    assert lines[2].startswith(NOT_READ) and "https://example.com/a.pdf" in lines[2]


@pytest.mark.parametrize(
    ("content_type", "data", "reason"),
    [
        ('application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"', "MIAGCSqG", "encrypted"),
        ('application/octet-stream; name="smime.p7m"', "MIAGCSqG", "encrypted"),
        ('application/pkcs7-signature; name="smime.p7s"', "MIAGCSqG", "a signature"),
        ('application/octet-stream; name="encrypted.asc"', "LS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0t", "encrypted (PGP)"),
        ('application/ms-tnef; name="winmail.dat"', "eJ8+IgAA", "there is no text in it"),
        ('application/octet-stream; name="winmail.dat"', "eJ8+IgAA", "there is no text in it"),
    ],
)
def test_attachments_that_cannot_be_read_are_named_with_the_reason(
    read: Read, content_type: str, data: str, reason: str
) -> None:
    attached = part(content_type, data, "Content-Transfer-Encoding: base64")
    name = content_type.partition('name="')[2].strip('"')
    lines = body(read, multipart("mixed", part(PLAIN, FACT), attached))
    assert lines[:2] == [FACT, f"Attachment: {name}"]
    assert lines[2].startswith(NOT_READ) and reason in lines[2]
    assert body(read, attached)[0] == f"Attachment: {name}"


# Hostile mails


@pytest.mark.check
@pytest.mark.parametrize(
    "data",
    [
        plain_mail(FACT, "From: a@x\nSubject: " + "=?utf-8?q?" * 50_000),
        plain_mail(FACT, "From: a@x\nSubject: " + "=?a?q?b?= " * 50_000),
        mail(part(f"text/plain;{';' * 200_000}", FACT)),
        mail(part(f"text/plain; name=\"{';' * 200_000}", FACT, "Content-Disposition: inline")),
        mail(part("text/plain; format=flowed", f"{FACT}\n" + "x \n" * 200_000)),
        plain_mail(f"{FACT}\n" + "begin 644 x\n" * 50_000 + "end\n"),
        plain_mail(f"{FACT}\n" + "begin 644 x\nend\n" * 50_000),
    ],
    ids=["words", "charsets", "parameters", "quotes", "flowed", "begins", "files"],
)  # fmt: skip
def test_hostile_mails_are_read_in_bounded_time(read: Read, data: bytes) -> None:
    started = time.process_time()
    assert FACT in read("mail.eml", data).text
    assert time.process_time() - started < 10


@pytest.mark.check
def test_parts_that_are_nested_too_deeply_are_refused(read: Read) -> None:
    from core.errors import DocumentRejected

    lines = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(2000))
    with pytest.raises(DocumentRejected, match="nested too deeply"):
        read("mail.eml", f"From: a@x\nMIME-Version: 1.0\n{lines}\n\n{FACT}".encode())


@pytest.mark.parametrize("damage", ["a space in a line", "two runs"])
def test_base64_is_read_to_its_end(read: Read, damage: str) -> None:
    rows = "".join(f"Train {number},Vienna\n" for number in range(60)).encode()
    if damage == "two runs":
        encoded = base64.encodebytes(rows[:700]) + base64.encodebytes(rows[700:])
    else:
        encoded = base64.encodebytes(rows)
        encoded = encoded[:100] + b" " + encoded[100:]
    lines = encoded.decode().rstrip("\n")
    head = (
        'Content-Type: text/csv; name="a.csv"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n'
    )
    mail = f"From: a@example.com\nMIME-Version: 1.0\n{head}{lines}\n"
    assert "Train 59" in read("a.eml", mail.encode()).text


@pytest.mark.parametrize("parameters", ["filename*=utf-8''a; filename*0*=b", "name=a; name*0=b; name*1*=c"])
def test_contradictory_parameters_are_tolerated(read: Read, parameters: str) -> None:
    part = f"--b\nContent-Type: text/csv; {parameters}\nContent-Disposition: attachment; {parameters}\n\nc\n1\n--b--\n"
    start = "From: a@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
    assert "Attachment: " in read("a.eml", f"{start}{part}".encode()).text
