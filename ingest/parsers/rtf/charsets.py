"""The charsets of RTF: Python codecs by the numbers of font charsets and code pages."""

from __future__ import annotations

import codecs

#: The charset of a file that declares none.
DEFAULT = "cp1252"
#: By the control words that name a charset at the start of a file.
BY_KEYWORD = {"ansi": DEFAULT, "mac": "mac_roman", "pc": "cp437", "pca": "cp850"}
_BY_FONT = {
    0: "cp1252", 2: "cp1252", 77: "mac_roman", 78: "shift_jis", 79: "big5", 80: "euc_kr", 81: "mac_arabic",
    82: "cp1255", 83: "mac_greek", 84: "mac_cyrillic", 85: "gb2312", 86: "mac_romanian", 87: "mac_cyrillic",
    88: "cp874", 89: "mac_latin2", 128: "cp932", 129: "cp949", 130: "johab", 134: "gbk", 136: "cp950", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250", 254: "cp437", 255: "cp850",
}  # fmt: skip
#: Code pages whose codec is not named after their number.
_BY_CODE_PAGE = {
    0: DEFAULT, 708: "iso8859_6", 936: "gbk", 1361: "johab", 10000: "mac_roman", 10001: "shift_jis", 10002: "big5",
    10003: "euc_kr", 10004: "mac_arabic", 10006: "mac_greek", 10007: "mac_cyrillic", 10008: "gb2312",
    10029: "mac_latin2", 10081: "mac_turkish", 54936: "gb18030",
}  # fmt: skip


def of_font(number: int) -> str | None:
    """Return the codec of a font's charset, or None if the file's code page applies."""
    return _BY_FONT.get(number)


def of_code_page(number: int) -> str:
    """Return the codec of a code page, or the default if Python has no codec for it."""
    name = _BY_CODE_PAGE.get(number, f"cp{number}")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return DEFAULT
