"""Faults: every process is killed once, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.chatter import Chatter, kill, searchable
from tests.e2e.documents import documents
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(420)]

FILES = 50
#: The id of " tea" in the starter model.
TEA = "7188"
#: A chat continues, or ends with an error, within this time after a kill.
CHAT_SECONDS = 15
#: Measured: the shape of a batch can change the difference of two logits by this much.
CLOSE_LOGITS = 0.5
PROCESSES = ("ingest", "index", "inference", "maintenance", "watcher", "flower", "redis", "api")


def first_difference(text: str, scores: list[dict[str, Any]]) -> float | None:
    """Return the difference of the logits of the two best tokens where the text first differs from an undisturbed run.

    Return None if the text does not differ.
    """
    given, expected, starts = text.encode(), b"", []
    for score in scores:
        starts.append(len(expected))
        expected += bytes(score["bytes"])
    if given == expected:
        return None
    pairs = zip(given, expected, strict=False)
    at = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(given), len(expected)))
    # The token in which they differ, or the one before it, because other tokens can begin with the same letters.
    position = max(number for number, start in enumerate(starts) if start <= at)
    return min(margin(scores[number]) for number in range(max(0, position - 1), position + 1))


def margin(score: dict[str, Any]) -> float:
    """Return the difference of the logits of the two best tokens, without ends of texts, which are ignored."""
    best, second, *_ = [one["logprob"] for one in score["top_logprobs"] if one["token"]]
    return float(best - second)


def assert_greedy(text: str, undisturbed: Iterable[list[dict[str, Any]]]) -> None:
    """Check that the text is that of an undisturbed run, or first differs where that run's two best tokens were close.

    The shape of a batch changes logits a little, in undisturbed runs too, so a match with one of several runs will do.
    """
    margins = []
    for scores in undisturbed:
        difference = first_difference(text, scores)
        if difference is None or difference <= CLOSE_LOGITS:
            return
        margins.append(difference)
    raise AssertionError(f"{text!r} is not a greedy text: where it differs, the best tokens are {margins} apart")


def test_killing_each_process_in_turn_loses_nothing(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack, httpx.Client(base_url=stack.base_url, timeout=30) as http:
        chatter = Chatter(stack.base_url)
        chatter.start()
        for number in range(FILES):
            text = f"This file speaks of marker{number:04d} and of nothing else at all.\n"
            (stack.inbox / f"file{number:04d}.txt").write_text(text)
        for name in PROCESSES:
            kill(stack, name)
        wait_until(lambda: stack.is_ready(), 90)

        def all_completed() -> bool:
            try:
                found = documents(http)
            except httpx.HTTPError:
                return False
            return len(found) == FILES and all(document["status"] == "completed" for document in found)

        wait_until(all_completed, 180)
        chatter.stopping.set()
        chatter.join(timeout=60)
        assert [searchable(http, number) for number in range(FILES)] == [1] * FILES
        assert "silent [DONE]" not in chatter.endings
        assert chatter.endings.count("cut") <= 1, "only the kill of the API cuts a stream"
        assert "whole" in chatter.endings
        assert chatter.longest_silence_seconds < CHAT_SECONDS


def test_streams_continue_in_the_next_inference_worker(tmp_path: Path) -> None:
    """Check that eight streams whose worker is killed continue where they were: without error, gap or repetition."""
    tokens, streams = 96, 8
    begun = threading.Barrier(streams + 1, timeout=60)

    def question(number: int) -> dict[str, Any]:
        messages = [{"role": "user", "content": f"Count upwards from {number}."}]
        return {"messages": messages, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}

    def undisturbed(number: int) -> list[dict[str, Any]]:
        request = question(number) | {"logprobs": True, "top_logprobs": 4}
        answer = httpx.post(f"{stack.base_url}/v1/chat/completions", json=request, timeout=60).json()
        scores: list[dict[str, Any]] = answer["choices"][0]["logprobs"]["content"]
        return scores

    def runs(number: int, together: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        yield together
        yield undisturbed(number)  # alone

    def stream_one(number: int) -> tuple[str, list[dict[str, Any]]]:
        request = question(number) | {"stream": True, "stream_options": {"include_usage": True}}
        chunks: list[dict[str, Any]] = []
        last = ""
        with httpx.stream("POST", f"{stack.base_url}/v1/chat/completions", json=request, timeout=60) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    last = line[6:]
                if line.startswith("data: {"):
                    chunks.append(json.loads(last))
                    if len(chunks) == 10:
                        begun.wait()
        return last, chunks

    # Each token is streamed by itself, so the number of chunks says how far a stream was.
    with Stack(tmp_path, {"STREAM_INTERVAL_MS": "0"}) as stack, ThreadPoolExecutor(streams) as pool:
        answers = [pool.submit(stream_one, number) for number in range(streams)]
        begun.wait()
        kill(stack, "inference")
        ended = [answer.result(timeout=120) for answer in answers]
        whole = list(pool.map(undisturbed, range(streams)))
        for number, ((last, chunks), together) in enumerate(zip(ended, whole, strict=True)):
            assert last == "[DONE]"
            assert not any("error" in chunk for chunk in chunks)
            choices = [choice for chunk in chunks for choice in chunk["choices"]]
            assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
            assert chunks[-1]["usage"]["completion_tokens"] == tokens
            frames = sum(bool(choice["delta"].get("content")) for choice in choices)
            assert frames > tokens / 2, "the streams were under way when the worker was killed"
            text = "".join(choice["delta"].get("content") or "" for choice in choices)
            assert_greedy(text, runs(number, together))


def test_raw_completions_continue_in_the_next_inference_worker(tmp_path: Path) -> None:
    """Check that what a raw completion streams is whole when its worker is killed: the echoed prompts and the rest."""
    tokens, prompts = 96, ["Of all drinks I like", "What I drink is"]
    # With this bias, one token alone is generated, so that the text is known.
    body = {"prompt": prompts, "n": 2, "max_tokens": tokens, "logit_bias": {TEA: 100}, "temperature": 0}
    chunks: list[dict[str, Any]] = []
    with Stack(tmp_path, {"STREAM_INTERVAL_MS": "0"}) as stack:
        request = body | {"stream": True, "echo": True, "logprobs": 1, "stream_options": {"include_usage": True}}
        with httpx.stream("POST", f"{stack.base_url}/v1/completions", json=request, timeout=120) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    chunks.append(json.loads(line[6:]))
                    if len(chunks) == 40:
                        stack.kill("inference")
    assert not [chunk for chunk in chunks if "error" in chunk]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    for index in range(4):
        own = [choice for choice in choices if choice["index"] == index]
        logprobs = [choice["logprobs"] for choice in own if choice["logprobs"]]
        assert "".join(choice["text"] for choice in own) == prompts[index // 2] + " tea" * tokens
        assert (
            "".join(token for entry in logprobs for token in entry["tokens"]) == prompts[index // 2] + " tea" * tokens
        )
        assert [choice["finish_reason"] for choice in own if choice["finish_reason"]] == ["length"]
    assert chunks[-1]["usage"]["completion_tokens"] == 4 * tokens
    assert len(choices) > 4 * tokens / 2, "the stream was under way when the worker was killed"


def test_a_hanging_redis_is_answered_503_before_clients_give_up(tmp_path: Path) -> None:
    request = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    with Stack(tmp_path) as stack, httpx.Client(base_url=stack.base_url, timeout=30) as http:
        assert http.post("/v1/chat/completions", json=request).status_code == 200
        redis_pid = stack.pid_of("redis")
        os.kill(redis_pid, signal.SIGSTOP)
        try:
            for path, body in (("/v1/chat/completions", request), ("/v1/rag/search", {"query": "sea"})):
                answer = http.post(path, json=body)
                assert answer.status_code == 503 and answer.json()["error"]["code"] == "queue_unavailable"
            kept = http.post("/v1/rag/documents", json={"texts": ["The kiwi is brown."]})
            assert kept.status_code == 202, "the document is stored and waits"
        finally:
            os.kill(redis_pid, signal.SIGCONT)
        wait_until(lambda: http.post("/v1/chat/completions", json=request).status_code == 200, 30)
        wait_until(lambda: [d["status"] for d in documents(http)] == ["completed"], 60)


def test_killing_up_leaves_no_orphan_and_the_next_start_continues_the_work(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.start()
    try:
        for number in range(10):
            (stack.inbox / f"file{number:04d}.txt").write_text(f"Here is marker{number:04d}, which is rare.\n" * 5)
        with httpx.Client(base_url=stack.base_url, timeout=30) as http:
            wait_until(lambda: len(documents(http)) > 0, 30)
        os.kill(stack.up_pid, signal.SIGKILL)
        wait_until(lambda: not stack.processes(), 60)
        stack.start()
        with httpx.Client(base_url=stack.base_url, timeout=30) as http:
            wait_until(lambda: [d["status"] for d in documents(http)] == ["completed"] * 10, 120)
            assert [searchable(http, number) for number in range(10)] == [1] * 10
    finally:
        stack.stop()
    assert not stack.processes()


def test_asynchronous_jobs_survive_every_restart(tmp_path: Path) -> None:
    request = {"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 120, "temperature": 0}
    with Stack(tmp_path) as stack, httpx.Client(base_url=stack.base_url, timeout=30) as http:
        prefer = {"Prefer": "respond-async"}
        answers = [http.post("/v1/chat/completions", json=request, headers=prefer) for _ in range(12)]
        assert [answer.status_code for answer in answers] == [202] * 12
        for name in ("inference", "api", "redis", "maintenance"):
            kill(stack, name)
        wait_until(stack.is_ready, 90)
        jobs = [answer.headers["location"] for answer in answers]

        def states() -> set[str]:
            return {http.get(job).json()["status"] for job in jobs}

        wait_until(lambda: states() <= {"completed", "failed"}, 120)
        results = [http.get(job).json() for job in jobs]
        assert {job["status"] for job in results} == {"completed"}, [job["error"] for job in results]
        assert all(job["result"]["choices"][0]["finish_reason"] in ("length", "stop") for job in results)
