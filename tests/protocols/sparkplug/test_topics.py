"""Topics of Sparkplug B."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.topics import Source, Verb, parse_topic, topic_of


@pytest.mark.parametrize("verb", list(Verb))
def test_a_topic_and_its_parts(verb: Verb) -> None:
    host, node, device = Source("", "n"), Source("g", "n"), Source("g", "n", "d")
    source = host if verb is Verb.STATE else device if verb[0] == "D" else node
    topic = topic_of(verb, source)
    assert topic.split("/")[0] == "spBv1.0"
    assert parse_topic(topic) == (verb, source)
    for wrong in (f"{topic}/x" if source is not node else f"spBv1.0/g/{verb}/n/d", topic.replace("spBv1.0", "spAv1.0"),
                  topic.rpartition("/")[0], topic + "/"):  # fmt: skip
        with pytest.raises(SparkplugError):
            parse_topic(wrong)


@pytest.mark.parametrize("bad", ["", "a+", "#", "a\0b", "\ud800", "x" * 257])
def test_identifiers_have_no_signs_of_topics(bad: str) -> None:
    for place in range(3):
        parts = ["g", "n", "d"]
        parts[place] = bad
        with pytest.raises(SparkplugError):
            parse_topic(f"spBv1.0/{parts[0]}/DDATA/{parts[1]}/{parts[2]}")
    assert parse_topic("spBv1.0/厂 1/DDATA/线/泵").source == ("厂 1", "线", "泵")


def test_a_source_is_its_group_node_and_device() -> None:
    sources = [parse_topic(f"spBv1.0/{group}/DDATA/{node}/d").source for group in "ab" for node in "xy"]
    assert len(set(sources)) == 4


@given(st.text(max_size=40))
def test_any_topic_gives_parts_or_the_one_error_13(topic: str) -> None:
    for text in (topic, "spBv1.0/" + topic):
        try:
            verb, source = parse_topic(text)
        except SparkplugError:
            continue
        assert topic_of(verb, source) == text
