"""The queue page in a browser: what waits and runs, and cancelling it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.console.browsing import NEEDS_CHROMIUM, Person, assert_fits, keep
from tests.e2e.console.server import busy_engine, job_state
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(900), NEEDS_CHROMIUM]


def test_a_waiting_job_is_cancelled(person: Person, stack: Stack) -> None:
    with busy_engine(stack) as jobs:
        page = person.open("queue")
        cancel = page.get_by_role("button", name=jobs[-1])
        expect(cancel).to_be_visible()
        wait_until(lambda: job_state(stack, jobs[-1]) == "queued", what="the last job's waiting")
        assert_fits(page)
        keep(page, "queue-busy")
        cancel.click()
        wait_until(lambda: job_state(stack, jobs[-1]) == "cancelled", what="the cancellation")
        expect(cancel).to_have_count(0)
