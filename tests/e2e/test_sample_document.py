"""The sample document of the console's first run: the model that the program brings answers its questions."""

from __future__ import annotations

import re
from importlib.resources import files

import httpx
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.check]

STATIC = files("api.console") / "static"
#: The questions that the console offers, and what is in their right answers.
ANSWERS = {
    "How long is the warranty of the Ardena 300?": r"four years|4 years",
    "How often should the machine be descaled?": r"three months|3 months",
    "How much water does the tank hold?": r"1\.8 lit(re|er)s",
}


@pytest.fixture(scope="module")
def sample(stack: object) -> tuple[str, bytes]:
    script = (STATIC / "js/chat/sample.js").read_text()
    found = re.search(r'SAMPLE_NAME = "(.+)"', script)
    assert found, "sample.js names the file"
    assert re.findall(r'^ {2}"(.+\?)",$', script, re.MULTILINE) == list(ANSWERS)
    return found[1], (STATIC / "samples" / found[1]).read_bytes()


@pytest.mark.parametrize("question", ANSWERS)
def test_the_starter_answers_the_questions_of_the_sample(
    http: httpx.Client, sample: tuple[str, bytes], question: str
) -> None:
    form = {"collection": "sample"}
    uploaded = http.post(
        "/v1/rag/documents/upload", files=[("files", sample)], data=form, headers={"prefer": "wait=60"}
    )
    assert uploaded.status_code in (201, 202), uploaded.text
    request = {"messages": [{"role": "user", "content": question}], "rag": {"collections": ["sample"]}}
    answer = http.post("/v1/chat/completions", json=request, timeout=120).raise_for_status().json()
    choice = answer["choices"][0]
    assert re.search(ANSWERS[question], choice["message"]["content"]), choice
    assert choice["grounded"], choice
