"""reStructuredText and Org: text that pandoc ignores is read, and no other files are."""

from __future__ import annotations

import time

import pytest

from ingest.parsers.pandoc.plain_markup import prepare
from tests.unit.ingest.support import Read, kinds_and_texts, sections


def texts(read: Read, name: str, text: str) -> list[str]:
    return [text for _, text in kinds_and_texts(read(name, text.encode()))]


def test_directives_of_sphinx_keep_their_arguments_captions_and_contents(read: Read) -> None:
    source = """
Guide
=====

.. py:class:: Fare(city)

   What a ride costs.

   .. py:method:: of(day)

      On a day.

.. class:: Ticket(fare)

   A ticket.

.. code-block:: python
   :linenos:
   :caption: Listing one

   price = 41

.. toctree::
   :caption: All chapters

   intro

.. pull-quote:: To be pulled.

.. unknown-directive:: Its argument
   :option: value

   Its content.
"""
    found = texts(read, "a.rst", source)
    for text in ("Fare(city)", "What a ride costs.", "of(day)", "On a day.", "Ticket(fare)", "A ticket.", "Listing one",
                 "price = 41", "All chapters", "intro", "To be pulled.", "Its argument", "Its content."):  # fmt: skip
        assert text in found
    assert found.index("Listing one") + 1 == found.index("price = 41")


def test_fields_about_the_document_are_read(read: Read) -> None:
    fields = ":Author: Ann Bee\n:Version: 7\n:Abstract: What it is about.\n"
    for source in (f"{fields}\nGuide\n=====\n\nWords.\n", f"Guide\n=====\n\n{fields}\nWords.\n"):
        text = "\n".join(texts(read, "a.rst", source))
        for words in ("Author", "Ann Bee", "7", "What it is about.", "Words."):
            assert words in text


def test_notes_of_rst_are_read_even_if_unreferenced(read: Read) -> None:
    notes = ".. [1] A note.\n.. [#auto] Its note.\n\n.. [2] A lonely note\n   goes on.\n"
    source = f"Words [1]_ and [#auto]_.\n\nMore.\n\n{notes}"
    text = "\n".join(texts(read, "a.rst", source))
    assert text.startswith("Words[1] and[2].\n1. A note.\n2. Its note.\nMore.")
    assert "[2] A lonely note" in text and "goes on." in text


def test_org_text_that_would_not_be_exported_is_read(read: Read) -> None:
    source = """#+TITLE: Timetable
#+DATE: 1 May
#+OPTIONS: d:nil tags:nil author:nil
#+EXCLUDE_TAGS: private
#+KEYWORDS: trains

* TODO Trains :private:
SCHEDULED: <2024-01-01 Mon>
:PROPERTIES:
:CUSTOM_ID: trains
:OWNER: Ann Bee
:END:
:LOGBOOK:
- A note of the log
:END:
To Vienna.
- [ ] book early
** Old ones :ARCHIVE:
To Rome.
** Kept back :noexport:
To Prague.
#+BEGIN_SRC python :exports none
price = 41
#+END_SRC
#+BEGIN_SRC python :exports results
price = 57
#+END_SRC

\\begin{align}
fare &= 41 \\\\
day &= 7
\\end{align}
"""
    document = read("a.org", source.encode())
    for text in (
        "DATE: 1 May", "KEYWORDS: trains", "SCHEDULED: <2024-01-01 Mon>", "OWNER: Ann Bee", "To Vienna.", "To Rome.",
        "A note of the log", "book early", "To Prague.", "price = 41", "price = 57", "fare",
    ):  # fmt: skip
        assert text in document.text
    assert "CUSTOM_ID" not in document.text
    assert (sections(document)["To Rome."] or "").startswith("Timetable > TODO Trains private > Old ones")


def test_an_unreferenced_org_note_does_not_drop_the_text_after_it(read: Read) -> None:
    source = "Words[fn:1] and[fn::within].\n\n[fn:1] A note.\n\n[fn:2] A lonely note.\n\nMore words.\n"
    assert texts(read, "a.org", source) == [
        "Words[1] and[2].",
        "1. A note.",
        "2. within",
        "2: A lonely note.",
        "More words.",
    ]


def test_broken_rst_is_read_as_text(read: Read) -> None:
    assert "Words with a lost target__." in read("a.rst", b"Words with a lost target__.\n").text


@pytest.mark.check
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("org", ":PROPERTIES:\n" * 200_000),
        ("org", ":PROPERTIES:\n" + ":a: b\n" * 200_000),
        ("org", "\\begin{align}\n" * 200_000),
        ("org", "[fn:1] x\n" * 200_000),
        ("rst", ".. " + "a:" * 500_000),
        ("rst", "[" * 500_000 + "a" * 500_000),
        ("rst", ".. code-block::\n" + "   :a: b\n" * 200_000),
        ("rst", ".. code-block::\n   :a: b\n" * 100_000),
        ("rst", ".. code-block::\n" + "   :caption: b\n" * 200_000),
        ("rst", ":" + "a" * 1_000_000),
    ],
    ids=lambda value: value[:16],
)
def test_hostile_markup_is_prepared_in_bounded_time(name: str, text: str) -> None:
    started = time.process_time()
    assert prepare(name, text)
    assert time.process_time() - started < 5


def test_urls_in_properties_and_fields_are_kept(read: Read) -> None:
    org = '* Trains\n:PROPERTIES:\n:URL: https://example.com/1\n:SOURCE: Ann\n:END:\nWords.\n#+INCLUDE: "/etc/passwd"\n'
    text = read("a.org", org.encode()).text
    assert "https://example.com/1" in text and "Ann" in text and "Words." in text
    table = ".. csv-table:: T\n   :header: a\n   :file: /etc/passwd\n"
    rst = f"Trains\n======\n\nWords.\n\n:url: https://example.com/2\n\n{table}"
    text = read("a.rst", rst.encode()).text
    assert "https://example.com/2" in text and "Words." in text and "root:" not in text
