"""The terms of BM25: the words of a text that a query finds."""

from __future__ import annotations

import pytest

from ingest.vector_store.sparse import document_terms, query_terms


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


def test_a_single_chinese_character_is_a_query_term() -> None:
    assert set(query_terms("猫は何?").indices) & set(document_terms("黒い猫が寝ている").indices)


def test_a_text_of_one_letter_has_one_term() -> None:
    assert len(document_terms("猫").indices) == 1
    assert not document_terms("")
