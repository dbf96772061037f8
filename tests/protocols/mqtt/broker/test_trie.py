"""Whether any subscription may be of `$` topics that begin with some levels, told without a topic."""

from hypothesis import given
from hypothesis import strategies as st

from taihu.protocols.mqtt.broker.queue import Usage
from taihu.protocols.mqtt.broker.session import Entry, Session
from taihu.protocols.mqtt.broker.trie import SubscriptionTrie
from taihu.protocols.mqtt.packets import Subscription

LEVELS = st.lists(st.sampled_from(["$granted", "a", "b"]), max_size=3)
FILTER = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.sampled_from(["$granted", "a", "b", "+"]), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
)


@given(st.lists(FILTER, max_size=4), LEVELS, LEVELS)
def test_it_is_so_where_a_longer_topic_matches(filters: list[str], begin: list[str], rest: list[str]) -> None:
    trie, session = SubscriptionTrie(), Session(1, "p", "k", "c", 0, Usage())
    for each in filters:
        trie.add(Entry(session, Subscription(each), 0))
    begin = ["$granted", *begin]
    assert trie.begins(begin) == any(may_match(each.split("/"), begin) for each in filters)
    matched = any(node.entries for node in trie.match("/".join([*begin, *rest])))
    assert trie.begins(begin) or not matched


def may_match(levels: list[str], begin: list[str]) -> bool:
    """As the standard has it, level by level (clause 4.7)."""
    for place, level in enumerate(begin):
        if place == len(levels):
            return False
        if place and levels[place] == "#":
            return True
        if levels[place] != level and not (place and levels[place] == "+"):
            return False
    return True
