"""Captions of films and talks: read as speech, with a time for each paragraph."""

from __future__ import annotations

import pytest

from tests.unit.ingest.support import Read, kinds_and_texts

VTT = """WEBVTT - A talk
Kind: captions

STYLE
::cue { color: red }

NOTE written by hand --
not spoken

intro
00:01.000 --> 00:04.000 align:start position:0%
<v Ann><i>The reserve pump</i> starts when</v>

2
00:04.000 --> 00:07.000
<v Ann>the pressure falls below 3 &lt; 4&nbsp;bar.

00:00:07.500 --> 00:00:09.000
<v.loud Bob>Who <c.red>checks</c> it?

01:00:00.000 --> 01:00:02.000
Later.
"""
SRT = """1
00:00:01,000 --> 00:00:04,000
<font color="#ff0000">The reserve pump starts when</font>

2
00:00:04,000 --> 00:00:07,000
the pressure falls below
{\\an8}three bar.
3
00:00:07,500 --> 00:00:09,000
- Who checks it?
- The shift leader.
"""
SBV = "0:00:01.000,0:00:04.000\nThe reserve pump\nstarts[br]now.\n\n0:00:09.000,0:00:10.000\nGood.\n"
ASS = """[Script Info]
Title: x
[V4+ Styles]
Style: Default,Arial,20
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:04.00,0:00:07.00,Default,Bob,0,0,0,,Second, with a comma.
Dialogue: 0,0:00:01.50,0:00:04.00,Default,Ann,0,0,0,,{\\i1}First{\\i0}\\Nline {a comment}here
Dialogue: 0,0:00:01.50,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0
Comment: 0,0:00:01.50,0:00:04.00,Default,,0,0,0,,unseen
"""
ROLLING = """WEBVTT

00:00:00.000 --> 00:00:03.000 align:start
 
the<00:00:00.100><c> turbine</c><00:00:00.200><c> is</c> stopped

00:00:03.000 --> 00:00:03.010
the turbine is stopped
 

00:00:03.010 --> 00:00:06.000
the turbine is stopped
before<00:00:03.100><c> the</c> hatch opens

00:00:06.000 --> 00:00:06.010
before the hatch opens
 

00:00:06.010 --> 00:00:09.000
before the hatch opens
and the lamp is dark
"""  # noqa: W291, W293
SPOKEN = "[00:00:01] The reserve pump starts when the pressure falls below three bar."


@pytest.mark.parametrize(
    ("name", "content", "paragraphs"),
    [
        pytest.param(
            "talk.vtt",
            VTT,
            [
                "[00:00:01] Ann: The reserve pump starts when the pressure falls below 3 < 4 bar.",
                "[00:00:07] Bob: Who checks it?",
                "[01:00:00] Later.",
            ],
            id="vtt",
        ),
        pytest.param("talk.srt", SRT, [f"{SPOKEN}\n- Who checks it?\n- The shift leader."], id="srt"),
        pytest.param("talk.txt", SRT, [f"{SPOKEN}\n- Who checks it?\n- The shift leader."], id="srt-by-content"),
        pytest.param("a.sbv", SBV, ["[00:00:01] The reserve pump starts now.", "[00:00:09] Good."], id="sbv"),
        pytest.param(
            "a.ass", ASS, ["[00:00:01] Ann: First line here", "[00:00:04] Bob: Second, with a comma."], id="ass"
        ),
        pytest.param(
            "a.vtt", ROLLING, ["[00:00:00] the turbine is stopped before the hatch opens and the lamp is dark"],
            id="rolling",
        ),
        pytest.param(
            "a.srt", "1\n00:00:01,000 --> 00:00:02,000\n暗証番\n号は\n", ["[00:00:01] 暗証番号は"], id="japanese"
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_captions_are_read_as_speech(read: Read, name: str, content: str, paragraphs: list[str], line_end: str) -> None:
    document = read(name, content.replace("\n", line_end).encode("utf-8-sig"))
    assert kinds_and_texts(document) == [("paragraph", text) for text in paragraphs]


def test_words_that_appear_one_by_one_are_read_once(read: Read) -> None:
    words = ["the", "pump", "starts", "when", "the", "pressure", "falls"]
    cues = [f"{n + 1}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{' '.join(words[: n + 1])}\n" for n in range(len(words))]
    assert read("a.srt", "\n".join(cues).encode()).text == f"[00:00:00] {' '.join(words)}"


def test_a_line_that_is_said_twice_stays_twice(read: Read) -> None:
    lines = ["No.", "No.", "Why?", "It leaks.", "Where?", "In bay 3."]
    cues = [f"{n + 1}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{line}\n" for n, line in enumerate(lines)]
    assert read("a.srt", "\n".join(cues).encode()).text == f"[00:00:00] {' '.join(lines)}"


def test_long_speech_is_divided_at_the_end_of_a_sentence(read: Read) -> None:
    cues = [f"{n}\n00:{n:02}:00,000 --> 00:{n + 1:02}:00,000\nThis is said in minute\n{n}.\n" for n in range(59)]
    document = read("a.srt", "\n".join(cues).encode())
    assert len(document.elements) == 4
    assert all(element.text.endswith(".") for element in document.elements)
    assert document.elements[1].text.startswith("[00:16:00] This is said in minute 16.")


def test_timed_text_is_read_as_speech(read: Read) -> None:
    text = b"""<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml" xmlns:m="http://www.w3.org/ns/ttml#metadata">
        <head><metadata><m:title>A film</m:title></metadata></head><body><div>
        <p begin="00:00:01.500" end="00:00:04.000"><m:desc>Ann</m:desc>The reserve <span>pump</span><br/>starts when</p>
        <p begin="4s" end="6500ms">the pressure\n            falls.</p><p> </p>
        <p begin="00:01:08:12" end="00:01:10:00">Who checks it?</p></div></body></tt>"""
    assert kinds_and_texts(read("a.ttml", text)) == [
        ("paragraph", "[00:00:01] The reserve pump starts when the pressure falls."),
        ("paragraph", "[00:01:08] Who checks it?"),
    ]


def test_timed_text_without_speech_is_read_as_other_xml(read: Read) -> None:
    text = b'<tt xmlns="http://www.w3.org/ns/ttml"><head><title>A film</title></head></tt>'
    assert read("a.ttml", text).text == "A film"


def test_captions_without_cues_are_text(read: Read) -> None:
    assert read("a.srt", b"No captions yet.").text == "No captions yet."
