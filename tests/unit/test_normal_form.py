"""Texts that look alike are compared as one, however they are encoded."""

from __future__ import annotations

import unicodedata

import pytest

from core.normal_form import normal_form
from ingest.vector_store.sparse import document_terms, query_terms
from ingest.vector_store.terms import term


@pytest.mark.parametrize(
    ("written", "same"),
    [
        (unicodedata.normalize("NFD", "Prüfgröße für Ångström"), "Prüfgröße für Ångström"),
        (unicodedata.normalize("NFD", "확정일정"), "확정일정"),
        ("\uff21\uff38\uff0d\uff19\uff12\uff10\uff10", "AX-9200"),
        ("\uff76\uff9e\uff97\uff7d", "ガラス"),
        ("\ufb01lter and \ufb02ow", "filter and flow"),
        ("Ge\u00adwähr\u00adleistung", "Gewährleistung"),
        ("user\u200cname of a data\u2060base", "username of a database"),
        ("AX\u200b9200", "AX9200"),
        ("state\u2010of\u2011the\u2010art", "state-of-the-art"),
        ("the pump\u2019s", "the pump's"),
        ("10\u2075 Pa and 10\u207b\u2076 g", "10^5 Pa and 10^-6 g"),
        ("40 m\u00b2", "40 m2"),
        ("a note\u00b3", "a note^3"),
        ("1\u00bd cups", "1 1/2 cups"),
        ("base 1010\u2082, H\u2082O", "base 1010 2, H2O"),
    ],
)
def test_forms_of_the_same_text_are_equal(written: str, same: str) -> None:
    assert normal_form(written) == normal_form(same) == same
    assert document_terms(written) == document_terms(same)
    assert query_terms(written) == query_terms(same)
    assert term("filename", written) == term("filename", same)


def test_a_raised_digit_is_not_a_digit_of_the_number_before_it() -> None:
    wanted = set(query_terms("25").indices)
    assert wanted <= set(document_terms("The maximum load is 25\u00b3 kg.").indices)
    assert not set(query_terms("253").indices) & set(document_terms("The maximum load is 25\u00b3 kg.").indices)


def test_the_case_of_a_text_stays() -> None:
    assert normal_form("STRASSE straße") == "STRASSE straße"
