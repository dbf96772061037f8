"""What a page is expected to show is waited for as everything else is."""

from playwright.sync_api import expect
from tests.waiting import WAIT_S

expect.set_options(timeout=WAIT_S * 1_000)
