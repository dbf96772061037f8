"""Names (§11) and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.ids import Address, NameRefused, check_name, check_project, new_token, parse_address, token_hash


@pytest.mark.parametrize("name", ["a", "house-03", "0", "x" * 63])
def test_project_names(name: str) -> None:
    assert check_project(name) == name


@pytest.mark.parametrize("name", ["", "-a", "House", "a_b", "x" * 64, "a/b", "a\n", "é"])
def test_bad_project_names(name: str) -> None:
    with pytest.raises(NameRefused) as caught:
        check_project(name)
    assert "lower-case" in caught.value.remedy


@pytest.mark.parametrize("name", ["power", "Main meter", "电表", "a.b", "x" * 128])
def test_thing_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "$SYS", " a", "a ", "a\x00b", "x" * 129, "\ud800", "a\x85b"])
def test_bad_thing_names(name: str) -> None:
    with pytest.raises(NameRefused):
        check_name(name)


def test_addresses() -> None:
    assert parse_address("p/t/power") == Address("p", "t", "power")
    assert parse_address("p") == Address("p")
    for text in ("p/t/a/b", "P/t", "p//a", ""):
        with pytest.raises(NameRefused):
            parse_address(text)


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_the_one_error(text: str) -> None:
    """§13; what is accepted can be written back."""
    try:
        address = parse_address(text)
    except NameRefused:
        return
    assert "/".join(part for part in address if part) == text


def test_tokens_are_random_and_their_hash_is_fixed() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert all(len(new_token()) == 43 for _ in range(10))
    assert token_hash("a") == token_hash("a") != token_hash("b")
    assert len(token_hash("\ud800")) == 32
