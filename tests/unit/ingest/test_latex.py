"""LaTeX as it is printed: without comments, with letters for the commands of accents, and with headings."""

from __future__ import annotations

import pytest

from ingest.parsers import detection
from ingest.parsers.latex import with_letters, without_comments
from tests.unit.ingest.support import Read, assert_elements_cover, kinds_and_texts, sections


@pytest.mark.parametrize(
    ("source", "letters"),
    [
        (r"M\"uller, M\"{u}ller, M{\"u}ller, M{\"{u}}ller", "Müller, Müller, Müller, Müller"),
        (
            r"\'Eric, na\"{\i}ve, na\"\i ve, Fran\c{c}ais, \v{S}koda, Erd\H{o}s",
            "Éric, naïve, naïve, Français, Škoda, Erdős",
        ),
        (r"Stra{\ss}e, Stra\ss e, \O{}re, \AA ngstr\"om, \L{}\'od\'z", "Straße, Straße, Øre, Ångström, Łódź"),
        (r"\textbf{bold} \cite{a} \vspace{1cm} \section{b} $\dot x$ \c x", None),
    ],
)
def test_accents_are_letters(source: str, letters: str | None) -> None:
    assert with_letters(source) == (letters or source)


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("The limit is 700 kg. % 9000 kg\nNext", "The limit is 700 kg.Next"),
        ("a\n% gone\n  % gone too\nb", "a\nb"),
        (r"5\% of 100\\% gone", r"5\% of 100\\"),
        ("a \\iffalse gone \\ifx x \\fi gone \\fi b", "a  b"),
        ("a \\iffalse gone \\else kept \\fi b", "a  kept \\fi b"),
        ("\\begin{comment}\ngone\n\\end{comment}\nb", "\nb"),
        ("\\begin{verbatim}\n% kept\n\\end{verbatim}", "\\begin{verbatim}\n% kept\n\\end{verbatim}"),
        (r"\verb|%| \url{http://a/%20b}", r"\verb|%| \url{http://a/%20b}"),
        ("x\n\\end{document}\ngone", "x\n\\end{document}\n"),
    ],
)
def test_comments_are_left_out(source: str, seen: str) -> None:
    assert without_comments(source) == seen


def test_headings_are_sections_and_text_is_typeset(read: Read) -> None:
    source = r"""\documentclass{article}
\title{Cranes}
\section{Limits of \emph{M\"uller}}
The limit is 700~kg at 10\textsuperscript{5}\,Pa, \sout{9000} 5\,\% more of the dia-
phragm.

\subsection*{Hooks}
Weekly. % yearly
"""
    document = read("crane.tex", source.encode())
    assert document.media_type == detection.LATEX
    assert_elements_cover(document)
    assert sections(document)["Weekly."] == "Cranes > Limits of Müller > Hooks"
    assert ("paragraph", "The limit is 700 kg at 10⁵ Pa, ~~9000~~ 5 % more of the diaphragm.") in kinds_and_texts(
        document
    )


def test_bibliographies_have_letters_and_keep_percent_signs(read: Read) -> None:
    text = read("a.bib", rb"@book{m, author = {M{\"u}ller}, note = {5% more}}").text
    assert text == "@book{m, author = {Müller}, note = {5% more}}"
