"""Passwords and failed tries: argon2, a rule of length, delays that grow, and nothing that tells whom there is."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.waiting import WAIT_S

from taihu.identity.attempts import Attempts, address_key
from taihu.identity.passwords import PasswordRefused, Passwords
from taihu.kernel.clock import SimClock
from taihu.kernel.limits import DEFAULT, Limits

GOOD = "correct horse battery"


def test_a_password_is_checked_against_its_hash() -> None:
    passwords = Passwords(DEFAULT)
    stored = passwords.hash("mei", GOOD)
    assert stored.startswith("$argon2id$") and GOOD not in stored
    assert passwords.check(stored, GOOD) and not passwords.check(stored, GOOD + "!")
    assert not passwords.outdated(stored)
    assert stored != passwords.hash("mei", GOOD)  # salted


def test_composed_and_decomposed_characters_are_the_same() -> None:
    passwords = Passwords(DEFAULT)
    assert passwords.check(passwords.hash("mei", "cafe\u0301 am See im Winter"), "caf\u00e9 am See im Winter")


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "x" * 1_025, "mei.lin.1234", "MEI.LIN-mei"])
def test_what_may_not_be_a_password(password: str) -> None:
    with pytest.raises(PasswordRefused) as refused:
        Passwords(DEFAULT).hash("mei.lin", password)
    assert password == "" or password not in str(refused.value)


def test_nobody_costs_as_much_as_somebody() -> None:
    """One whole check each, with no hash and with a hash: the time it takes does not tell whom there is."""
    passwords = Passwords(DEFAULT)
    stored = passwords.hash("mei", GOOD)
    for given_hash in ("", stored):
        before = passwords.checks
        assert not passwords.check(given_hash, "wrong password")
        assert passwords.checks == before + 1
    assert not passwords.check("$argon2id$v=19$broken", "")


def test_so_many_are_worked_on_at_once() -> None:
    """§6: each takes 64 MB."""
    passwords = Passwords(Limits(password_checks_max=1))
    assert passwords._slots.acquire(blocking=False)
    done = threading.Event()

    def check() -> None:
        passwords.check("", "x")
        done.set()

    thread = threading.Thread(target=check)
    thread.start()
    assert not done.wait(0.2)
    passwords._slots.release()
    thread.join(WAIT_S)
    assert done.is_set()


def test_tries_wait_longer_and_longer() -> None:
    clock = SimClock()
    attempts = Attempts(clock, Limits(sign_in_delay_max_s=60.0))
    waits = []
    for _ in range(14):
        waits.append(attempts.wait_s("mei"))
        attempts.begin("mei")
    assert waits[:5] == [0] * 5 and waits[5:12] == [1, 2, 4, 8, 16, 32, 60]
    clock.advance(59)
    assert attempts.wait_s("mei") == 1.0
    clock.advance(1)
    assert attempts.wait_s("mei") == 0 and attempts.wait_s("ben") == 0
    attempts.begin("mei")
    assert attempts.wait_s("mei") == 60
    attempts.succeeded("mei")
    assert attempts.wait_s("mei") == 0


def test_one_s_own_account_is_no_way_round() -> None:
    """A right try takes back itself alone: who has an account cannot wipe out what was counted for the address."""
    attempts = Attempts(SimClock(), DEFAULT)
    for _ in range(6):
        attempts.begin("192.0.2.7")
        attempts.begin("192.0.2.7")
        attempts.forgive("192.0.2.7")
    assert attempts.wait_s("192.0.2.7") > 0


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["begin", "succeeded", "forgive"])), max_size=60))
def test_they_are_bounded_and_never_below_nothing(steps: list[tuple[str, str]]) -> None:
    """§6"""
    attempts = Attempts(SimClock(), Limits(sign_in_tracked_max=3))
    for key, step in steps:
        getattr(attempts, step)(key)
        assert len(attempts) <= 3 and attempts.wait_s(key) >= 0


@given(st.ip_addresses() | st.text())
def test_any_address_has_a_key(address: object) -> None:
    assert address_key(str(address))
    assert address_key("::ffff:192.0.2.7") == "192.0.2.7"
