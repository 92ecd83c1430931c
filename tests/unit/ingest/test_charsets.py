"""Text in common charsets, and files that are mostly text."""

from __future__ import annotations

import random
import struct

import pytest

from core.errors import DocumentRejected
from ingest.parsers.charsets import is_text
from tests.unit.ingest.support import Read

RUSSIAN = "Поезд в Вену отправляется в девять часов вечера.\nБилеты следует покупать заранее."
JAPANESE = "ウィーン行きの夜行列車は九時に出発します。\n席が限られているため、切符は早めに購入してください。"
CHINESE = "前往维也纳的夜间列车九点出发。\n请提前购买车票，因为座位有限。"
TAIWANESE = "前往維也納的夜間列車九點出發。"
THAI = "รถไฟกลางคืนไปเวียนนาออกเวลาเก้าโมง\nกรุณาซื้อตั๋วล่วงหน้า"
HEBREW = "רכבת הלילה לווינה יוצאת בתשע."
GREEK = "Το νυχτερινό τρένο για τη Βιέννη φεύγει στις εννέα."
ARABIC = "يغادر القطار الليلي إلى فيينا في الساعة التاسعة."
KOREAN = "빈으로 가는 야간 열차는 아홉 시에 출발합니다.\n좌석이 한정되어 있습니다."
POLISH = "Pociąg do Wiednia odjeżdża o dziewiątej wieczorem. Bilety należy kupować wcześniej, bo miejsc jest mało."
CZECH = "Vlak do Vídně odjíždí v devět hodin večer. Jízdenky kupujte předem, protože míst je málo. Další jede ráno."
TURKISH = "Viyana'ya gece treni saat dokuzda kalkıyor."
GERMAN = (
    "Der Nachtzug nach Wien fährt um neun ab. Größere Gepäckstücke kosten eine Gebühr; für Fahrräder gilt es nicht."
)


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "Grüße, 你好, привет 👋"),
        ("utf-8-sig", "Grüße"),
        ("utf-16", "Grüße, 你好"),
        ("utf-32", "Grüße"),
        ("utf-16-le", "Ordinary words without a mark."),
        ("utf-16-be", "Ordinary words without a mark."),
        ("latin-1", "Café à la crème, élève déjà vu."),
        ("cp1252", "“Smart quotes” — it’s fine for €5"),
        ("latin-1", "Grüße aus München, schöne Straße"),
        ("cp1250", "Zażółć gęślą jaźń, świeży chleb i masło"),
        ("gb18030", "这是一个中文文本,用于测试编码检测。"),
        ("euc_kr", "안녕하세요 한국어 텍스트입니다"),
        ("koi8-r", "Привет, как дела? Это проверка кодировки текста."),
        ("cp1251", "Привет, как дела? Это проверка кодировки текста."),
        ("shift_jis", "これは日本語のテキストです。文字コードの判定。"),
        ("cp1252", "Preis: 5 €"),
        ("cp1252", "1,5 µm und 20 °C, § 5"),
        ("iso2022_jp", JAPANESE),
        ("euc_jp", JAPANESE),
        ("big5", TAIWANESE),
        ("cp874", THAI),
        ("cp1255", HEBREW),
        ("cp1253", GREEK),
        ("cp1256", ARABIC),
        ("cp949", KOREAN),
        ("iso8859_2", POLISH),
        ("iso8859_2", CZECH),
        ("cp1254", TURKISH),
        ("iso8859_5", RUSSIAN),
        ("cp866", RUSSIAN),
        ("mac_roman", GERMAN),
        ("cp850", GERMAN),
        *((f"utf-16-{order}", text) for order in ("le", "be") for text in (RUSSIAN, JAPANESE, CHINESE, THAI, KOREAN)),
    ],
)
def test_charsets(read: Read, charset: str, text: str) -> None:
    assert read("note.txt", text.encode(charset)).text == text


def test_utf8_with_a_bad_byte_stays_utf8(read: Read) -> None:
    assert read("note.txt", "Grüße aus Köln, schöne Bücher, ".encode() + b"\xff end").text.startswith("Grüße aus Köln")


def test_lines_in_another_charset_do_not_spoil_the_rest(read: Read) -> None:
    # Given a long ASCII text with a few letters in UTF-8 and one in Latin-1 near its end
    data = b"An ordinary line.\n" * 10_000 + "Käse aus Österreich\n".encode() + b"Herr M\xfcller\n"
    assert read("note.txt", data).text.endswith("Käse aus Österreich\nHerr Müller\n")


def test_a_text_that_was_cut_within_a_character_stays_utf8(read: Read) -> None:
    assert read("note.txt", "前往维也纳".encode()[:-1]).text == "前往维也\ufffd"


@pytest.mark.parametrize("gap", [b"\0", bytes(3000)], ids=["one", "many"])
def test_zeros_that_a_crash_left_in_a_log_are_dropped(read: Read, gap: bytes) -> None:
    data = "10:00 Zug nach Köln\n".encode() * 40 + gap + b"10:05 restarted\n" * 40
    document = read("server.log", data)
    assert document.media_type == "text/plain"
    assert "Köln" in document.text and document.text.endswith("restarted\n")
    assert "\0" not in document.text


def test_utf16_appended_to_another_charset_is_read(read: Read) -> None:
    data = "Zug nach Köln\r\n".encode() * 20 + "Züge nach Wien\r\n".encode("utf-16-le") * 20
    assert read("log.txt", data).text.split("\n")[19:21] == ["Zug nach Köln", "Züge nach Wien"]


def test_binary_numbers_are_not_text(read: Read) -> None:
    numbers = random.Random(0)
    for _ in range(100):
        whole = [numbers.randint(-3000, 3000) for _ in range(500)]
        small = [numbers.randint(0, 300) for _ in range(500)]
        for data in (struct.pack("<500h", *whole), struct.pack("<500H", *small), struct.pack("<500i", *whole)):
            assert not is_text(data)
    with pytest.raises(DocumentRejected, match="not supported"):
        read("numbers.dat", struct.pack("<500h", *whole))


@pytest.mark.parametrize("name", ["undefined", "punycode", "no-such-charset"])
def test_text_with_an_invalid_charset_name_is_read(read: Read, name: str) -> None:
    page = f"<!doctype html><meta charset={name}><p>Zug nach Köln, größer".encode("cp1252")
    assert read("a.html", page).text == "Zug nach Köln, größer"
    mail = f"From: a@example.com\nMIME-Version: 1.0\nContent-Type: text/plain; charset={name}\n\nZug nach Köln\n"
    assert "Zug nach Köln" in read("a.eml", mail.encode("cp1252")).text


def test_utf8_text_with_a_line_of_iso_2022_jp_stays_utf8(read: Read) -> None:
    text = "Zug nach Köln – neun Uhr\n"
    assert read("a.txt", text.encode() + JAPANESE.encode("iso2022_jp")).text.startswith(text)
