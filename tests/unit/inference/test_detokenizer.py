"""The detokenizer: no partial character, no part of a stop string, and nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.text.detokenizer import Detokenizer


def split(text: str, cuts: list[int]) -> list[bytes]:
    data = text.encode()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def detokenize(pieces: list[bytes], stop: list[str], skip: int = 0) -> tuple[list[str], Detokenizer]:
    detokenizer = Detokenizer(pieces.__getitem__, stop, skip)
    deltas = []
    for token in range(len(pieces)):
        deltas.append(detokenizer.push(token))
        if detokenizer.stop_found:
            break
    deltas.append(detokenizer.finish())
    return deltas, detokenizer


texts = st.text(st.sampled_from("ab€😀\n"), max_size=30)
stops = st.lists(st.text(st.sampled_from("ab€"), min_size=1, max_size=4), max_size=3)
cuts = st.lists(st.integers(0, 200), max_size=30)


@given(texts, stops, cuts)
def test_the_text_before_the_first_stop_string_is_emitted(text: str, stop: list[str], at: list[int]) -> None:
    deltas, detokenizer = detokenize(split(text, at), stop)
    emitted = "".join(deltas)
    assert "�" not in emitted
    assert text.startswith(emitted)
    assert detokenizer.stop_found == any(one in text for one in stop)
    assert not any(one in emitted for one in stop)
    if not detokenizer.stop_found:
        assert emitted == text


@given(texts, stops, cuts, st.integers(0, 30))
def test_resumed_text_continues_after_what_was_sent(text: str, stop: list[str], at: list[int], sent: int) -> None:
    whole, _ = detokenize(split(text, at), stop)
    rest, _ = detokenize(split(text, at), stop, skip=sent)
    assert "".join(rest) == "".join(whole)[sent:]


def test_a_character_in_pieces_waits_for_its_last_byte() -> None:
    euro = "€".encode()
    deltas, _ = detokenize([euro[:1], euro[1:2], euro[2:], b"!"], [])
    assert deltas == ["", "", "€", "!", ""]


def test_a_character_cut_by_the_end_is_dropped() -> None:
    assert "".join(detokenize([b"ok", "€".encode()[:2]], [])[0]) == "ok"


def test_the_start_of_a_stop_string_is_held_back_until_it_cannot_be_one() -> None:
    deltas, _ = detokenize([b"x STO", b"RE"], ["STOP"])
    assert deltas == ["x ", "STORE", ""]


def test_text_held_back_is_emitted_at_the_end() -> None:
    assert detokenize([b"x STO"], ["STOP"])[0] == ["x ", "STO"]
