"""Ages are read as they are written, and rules come to ages that leave no hole between readings and rollups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.config import parse_site
from taihu.kernel.errors import ConfigError
from taihu.kernel.retention import FOREVER, Retention, RetentionRefused, age_text, ages_of, parse_age

AGES = st.one_of(
    st.just("forever"),
    st.tuples(st.integers(1, 500), st.sampled_from("hdwy")).map(lambda parts: f"{parts[0]}{parts[1]}"),
)
RULES = st.builds(Retention, raw=AGES | st.just(""), minutes=AGES | st.just(""), hours=AGES | st.just(""))


@given(AGES)
def test_an_age_is_told_as_it_is(text: str) -> None:
    assert parse_age(age_text(parse_age(text))) == parse_age(text)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5d", "1mo", "59s", "1 d", "9999999999d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(RetentionRefused):
        parse_age(text)


@given(st.lists(RULES | st.none(), max_size=3))
def test_the_first_rule_that_says_something_counts(rules: list[Retention | None]) -> None:
    """And no rollup is kept for less than what it is made from."""
    found = ages_of(*rules)
    assert list(found) == sorted(found)
    raw = next((rule.raw for rule in rules if rule and rule.raw), "forever")
    assert found[0] == parse_age(raw)
    hours = next((rule.hours for rule in rules if rule and rule.hours), "")
    assert found[2] == max(parse_age(hours) if hours else 0, found[1])


def test_a_site_and_its_projects_have_rules(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = '[retention]\nraw = "2y"\n[[project]]\nname = "a"\n[project.retention]\nraw = "30d"\n1h = "forever"\n'
    site = parse_site(text, folder)
    assert ages_of(site.projects[0].retention, site.retention) == (30 * 86_400 * NS_PER_S,) * 2 + (FOREVER,) * 2
    with pytest.raises(ConfigError, match=r"'soon' is no age") as caught:
        parse_site(text.replace("30d", "soon"), folder)
    assert caught.value.where == "site.toml:6"
