"""The terms of BM25: the words of a text that a query finds."""

from __future__ import annotations

import pytest

from ingest.vector_store.sparse import code_terms, document_terms, query_terms


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The boats were leaving the harbours.", "boat harbour"),
        ("Übergröße im Café", "cafe"),
        ("error ERR-4711 on the router", "ERR-4711"),
        ("今天天气很好我们去公园散步最后的密码是紫色河马", "紫色河马"),
        ("これは日本語の文章です。暗号語はズンドコキヨシ。", "ズンドコキヨシ"),
        ("รหัสลับคือมะม่วงหิมพานต์และเราจะไปตลาด", "มะม่วงหิมพานต์"),
        ("한국어 문장입니다", "한국어"),
        ("See clause 12.3 of the contract.", "clause 12.3"),
        ("part AB-1207 is in stock", "AB1207"),
        ("part AB1207 is in stock", "ab-1207"),
        ("part AB1207 is in stock", "1207"),
        ("part AB–1207 is in stock", "AB-1207"),
        ("released as v1.2.3-rc1", "v1.2.3-rc1"),
        ("on 2024-01-02 at 10:30", "2024-01-02"),
        ("43,950 km for $1,234.50", "43950 1234.50"),
        ("a pressure of 10⁵ Pa", "10^5"),
        ("a pressure of 10^5 Pa", "10⁵"),
        ("a current of 10⁻⁵ A", "10^-5"),
        ("路由器RT4711的重置按钮", "rt4711"),
        ("我家有一只黑猫", "猫"),
        ("黒い猫が寝ている", "猫"),
    ],
)
def test_the_terms_of_a_query_are_among_those_of_a_text_that_contains_it(text: str, query: str) -> None:
    wanted = set(query_terms(query).indices)
    assert wanted and wanted <= set(document_terms(text).indices)


@pytest.mark.parametrize(("text", "query"), [("今天天气很好", "明天下雨"), ("the router", "the of and")])
def test_other_words_are_not_found(text: str, query: str) -> None:
    assert not set(query_terms(query).indices) & set(document_terms(text).indices)


def test_the_number_of_a_version_is_found_without_what_is_around_it() -> None:
    assert set(code_terms("1.2.3")) <= set(document_terms("released as v1.2.3-rc1").indices)


@pytest.mark.parametrize(
    ("text", "other", "query"),
    [
        ("See clause 12.3 here.", "12 days and 3 weeks in clause 4", "clause 12.3"),
        ("part AB-1207", "part AB, of which there are 1207", "AB-1207"),
        ("version 1.2.3", "version 1.3.2", "version 1.2.3"),
        ("on 2024-01-02", "on 2024-02-01", "2024-01-02"),
    ],
)
def test_a_code_as_a_whole_is_a_term_besides_its_parts(text: str, other: str, query: str) -> None:
    wanted = set(query_terms(query).indices)
    assert wanted <= set(document_terms(text).indices)
    shared = wanted & set(document_terms(other).indices)
    assert shared and shared < wanted


def test_a_single_chinese_character_is_a_query_term() -> None:
    assert set(query_terms("猫は何?").indices) & set(document_terms("黒い猫が寝ている").indices)


def test_a_text_of_one_letter_has_one_term() -> None:
    assert len(document_terms("猫").indices) == 1
    assert not document_terms("")


def test_a_power_is_a_code_of_its_own() -> None:
    codes = [frozenset(code_terms(text)) for text in ("10⁵", "10.5", "10⁻⁵", "105 10 5")]
    assert len(set(codes)) == len(codes) and all(map(len, codes[:3]))
    assert code_terms("10^5") == code_terms("10⁵")
    assert not codes[0] & set(document_terms("10.5 or 105 kg").indices)
