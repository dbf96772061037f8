"""The host application's machine: births, order, rebirths, deaths, STATE and commands."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.protocols.sparkplug import host as host_module
from taihu.protocols.sparkplug.decode import decode
from taihu.protocols.sparkplug.encode import encode
from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.host import Born, Died, Event, Host, HostSeen, Told
from taihu.protocols.sparkplug.kinds import DataType
from taihu.protocols.sparkplug.messages import BD_SEQ, REBIRTH, HostState, Publication
from taihu.protocols.sparkplug.payload import Metric, Payload, Template
from taihu.protocols.sparkplug.topics import Source, Verb, topic_of

NODE, PUMP = Source("plant", "line"), Source("plant", "line", "pump")
NOW_MS = 1_767_571_200_000
STATE = "spBv1.0/STATE/scada"
SPEED = Metric("speed", 7, 1_000, DataType.INT32, -5)
BIRTH = (Metric(BD_SEQ, None, 1_000, DataType.INT64, 3), Metric(REBIRTH, None, 1_000, DataType.BOOLEAN, False))


class Bench:
    """A host, and a node that speaks to it."""

    def __init__(self, **options: float) -> None:
        self.host = Host("scada", **options)  # type: ignore[arg-type]
        self.host.will(NOW_MS)
        self.host.connected()
        self.host.take_output()
        self.seq = 0
        self.now = 10.0

    def send(
        self, verb: Verb, source: Source, *metrics: Metric, seq: int | None = -1, kinds: bool = True
    ) -> list[Event]:
        if seq == -1:
            seq = None if verb is Verb.NDEATH else self.seq
            self.seq = (self.seq + 1) % 256
        data = encode(Payload(timestamp=2_000, metrics=metrics, seq=seq), with_kinds=kinds)
        return self.host.receive(topic_of(verb, source), data, self.now, NOW_MS + 5)

    def born(self) -> None:
        self.seq = 0
        self.send(Verb.NBIRTH, NODE, *BIRTH)
        self.send(Verb.DBIRTH, PUMP, SPEED)

    def speed(self, value: int, seq: int | None = -1) -> list[Event]:
        return self.send(Verb.DDATA, PUMP, Metric(None, 7, 3_000, DataType.INT32, value), seq=seq, kinds=False)

    def asked(self) -> list[Publication]:
        return self.host.take_output()


def told(events: Sequence[Event]) -> list[object]:
    return [metric.value for event in events if isinstance(event, Told) for metric in event.metrics]


def test_its_will_says_that_it_is_gone() -> None:
    will = Host("scada").will(NOW_MS)
    assert (will.topic, will.qos, will.retain) == (STATE, 1, True)
    assert msgspec.json.decode(will.payload) == {"online": False, "timestamp": NOW_MS}


def test_its_birth_is_the_first_message_and_has_the_time_of_its_will() -> None:
    host = Host("scada")
    assert host.take_output() == []
    host.will(NOW_MS)
    assert host.filters() == [(STATE, 1), ("spBv1.0/#", 0)]
    assert host.take_output() == []  # nothing before the subscriptions stand
    host.connected()
    (birth,) = host.take_output()
    assert (birth.topic, birth.qos, birth.retain) == (STATE, 1, True)
    assert msgspec.json.decode(birth.payload) == {"online": True, "timestamp": NOW_MS}


def test_each_connection_has_a_time_of_its_own() -> None:
    one, other = Host("scada"), Host("scada")
    one.will(NOW_MS)
    other.will(NOW_MS + 1)
    one.connected()
    other.connected()
    times = [msgspec.json.decode(host.take_output()[0].payload)["timestamp"] for host in (one, other)]
    assert times == [NOW_MS, NOW_MS + 1]


def test_it_says_good_bye_with_the_time_of_going() -> None:
    bench = Bench()
    bench.host.goodbye(NOW_MS + 99)
    (death,) = bench.host.take_output()
    assert (death.topic, death.qos, death.retain) == (STATE, 1, True)
    assert msgspec.json.decode(death.payload) == {"online": False, "timestamp": NOW_MS + 99}


def test_an_old_death_of_its_own_is_answered_by_a_birth() -> None:
    bench = Bench()
    assert bench.host.receive(STATE, b'{"online":false,"timestamp":1}', 0.0, NOW_MS + 7) == []
    (birth,) = bench.host.take_output()
    assert msgspec.json.decode(birth.payload) == {"online": True, "timestamp": NOW_MS}
    bench.host.receive(STATE, b'{"online":true,"timestamp":1}', 0.0, NOW_MS + 7)
    assert bench.host.take_output() == []


def test_other_hosts_are_seen_and_a_listener_tells_nothing() -> None:
    bench = Bench()
    seen = bench.host.receive("spBv1.0/STATE/other", b'{"online":true,"timestamp":5}', 0.0, NOW_MS)
    assert seen == [HostSeen("other", HostState(True, 5))]
    with pytest.raises(SparkplugError, match="no STATE"):
        bench.host.receive("spBv1.0/STATE/other", b"ONLINE", 0.0, NOW_MS)
    listener = Host("scada", announces=False, groups=("a", "b"))
    listener.will(NOW_MS)
    listener.connected()
    listener.goodbye(NOW_MS)
    assert listener.take_output() == []
    assert [one for one, _ in listener.filters()][1:] == ["spBv1.0/a/#", "spBv1.0/b/#"]


def test_births_and_data_by_alias() -> None:
    bench = Bench()
    assert bench.send(Verb.NBIRTH, NODE, *BIRTH) == [Born(NODE, 2_000, BIRTH)]
    assert bench.send(Verb.DBIRTH, PUMP, SPEED) == [Born(PUMP, 2_000, (SPEED,))]
    (event,) = bench.speed(-9)
    assert event == Told(PUMP, 2_000, (Metric("speed", 7, 3_000, DataType.INT32, -9),))


def test_members_of_templates_have_their_types_from_the_birth() -> None:
    bench = Bench()
    bench.send(Verb.NBIRTH, NODE, *BIRTH)
    template = Template(ref="Motor", members=(Metric("rpm", 1, None, DataType.INT16, -3),))
    bench.send(Verb.DBIRTH, PUMP, Metric("motor", 9, None, DataType.TEMPLATE, template))
    change = Template(ref="Motor", members=(Metric(None, 1, None, DataType.INT16, -4),))
    events = bench.send(Verb.DDATA, PUMP, Metric(None, 9, None, DataType.TEMPLATE, change), kinds=False)
    (value,) = told(events)
    assert isinstance(value, Template)
    assert [(one.name, one.value) for one in value.members] == [("rpm", -4)]


def test_who_was_not_born_is_asked_to_be_reborn_and_not_too_often() -> None:
    bench = Bench()
    assert bench.speed(1) == []
    (ask,) = bench.asked()
    assert (ask.topic, ask.qos, ask.retain) == ("spBv1.0/plant/NCMD/line", 0, False)
    payload = decode(ask.payload)
    assert (payload.seq, payload.timestamp) == (None, NOW_MS + 5)
    assert [(one.name, one.alias, one.value) for one in payload.metrics] == [(REBIRTH, None, True)]
    bench.speed(2)
    assert bench.asked() == []
    bench.now += host_module.REBIRTH_S
    bench.speed(3)
    assert len(bench.asked()) == 1


def test_a_metric_or_device_that_was_not_born_is_left_out_and_asked_for() -> None:
    bench = Bench()
    bench.born()
    unknown = Metric(None, 99, None, DataType.INT32, 1)
    assert told(bench.send(Verb.DDATA, PUMP, unknown, Metric(None, 7, None, DataType.INT32, 2), kinds=False)) == [2]
    assert len(bench.asked()) == 1
    bench.now += 100
    assert bench.send(Verb.DDATA, Source("plant", "line", "other"), SPEED) == []
    assert len(bench.asked()) == 1


def test_messages_out_of_order_are_put_in_order() -> None:
    bench = Bench(reorder_s=2.0)
    bench.born()
    assert bench.speed(13, seq=3) == []
    assert bench.host.next_timer() == 12.0
    assert bench.send(Verb.DDEATH, PUMP, seq=5) == []
    bench.now = 11.0
    assert told(bench.speed(12, seq=2)) == [12, 13]
    assert bench.host.next_timer() == 13.0  # 4 is still missing
    events = bench.speed(14, seq=4)
    assert told(events) == [14]
    assert isinstance(events[-1], Died)
    assert bench.host.next_timer() is None
    assert bench.asked() == []


def test_a_message_that_does_not_come_is_missed_by_a_rebirth() -> None:
    bench = Bench(reorder_s=2.0)
    bench.born()
    bench.speed(13, seq=3)
    bench.host.handle_timer(11.9, NOW_MS)
    assert bench.asked() == []
    bench.host.handle_timer(12.0, NOW_MS)
    assert len(bench.asked()) == 1
    assert bench.host.next_timer() is None
    assert bench.speed(14, seq=4) == []  # nothing is believed until it is born again
    assert bench.host.dropped == 2
    bench.born()
    assert told(bench.speed(15)) == [15]


def test_without_patience_the_rebirth_is_asked_for_at_once() -> None:
    bench = Bench(reorder_s=0.0)
    bench.born()
    bench.speed(13, seq=9)
    assert len(bench.asked()) == 1


@given(st.permutations(range(2, 12)))
@settings(max_examples=50)
def test_any_order_gives_the_same_readings(order: list[int]) -> None:
    bench = Bench(reorder_s=2.0)
    bench.born()
    events = [event for seq in order for event in bench.speed(seq, seq=seq)]
    assert told(events) == list(range(2, 12))


def test_numbers_go_round() -> None:
    bench = Bench()
    bench.born()
    for value in range(600):
        assert told(bench.speed(value)) == [value]


def test_a_death_is_of_the_node_and_its_devices_by_our_clock() -> None:
    bench = Bench()
    bench.born()
    assert bench.send(Verb.NDEATH, NODE, BIRTH[0]) == [Died(NODE, NOW_MS + 5), Died(PUMP, NOW_MS + 5)]
    with pytest.raises(SparkplugError, match="not there"):
        bench.host.command(PUMP, "speed", 1, NOW_MS)


def test_a_death_of_another_birth_is_left_out() -> None:
    bench = Bench()
    bench.born()
    assert bench.send(Verb.NDEATH, NODE, Metric(BD_SEQ, None, None, DataType.INT64, 2)) == []
    assert told(bench.speed(1, seq=2)) == [1]


def test_a_birth_of_a_new_connection_ends_what_was_before() -> None:
    bench = Bench()
    bench.born()
    bench.seq = 0
    fresh = Metric(BD_SEQ, None, None, DataType.INT64, 4)
    events = bench.send(Verb.NBIRTH, NODE, fresh, *BIRTH[1:])
    assert [type(event) for event in events] == [Died, Died, Born]


def test_a_devices_death_is_its_own_by_its_clock() -> None:
    bench = Bench()
    bench.born()
    assert bench.send(Verb.DDEATH, PUMP) == [Died(PUMP, 2_000)]
    assert bench.send(Verb.DDEATH, PUMP) == []


def test_when_the_connection_is_lost_nothing_is_known() -> None:
    bench = Bench()
    bench.born()
    assert bench.host.connection_lost(NOW_MS + 9) == [Died(NODE, NOW_MS + 9), Died(PUMP, NOW_MS + 9)]
    assert bench.speed(1) == []


def test_a_command_is_of_a_metric_that_was_born_and_by_its_alias() -> None:
    bench = Bench()
    bench.born()
    bench.speed(1)  # without its type: so does the host
    assert bench.host.command(PUMP, "speed", -8, NOW_MS) == -8
    (command,) = bench.host.take_output()
    assert (command.topic, command.qos, command.retain) == ("spBv1.0/plant/DCMD/line/pump", 0, False)
    payload = decode(command.payload)
    assert (payload.seq, payload.timestamp) == (None, NOW_MS)
    (metric,) = payload.metrics
    assert (metric.name, metric.alias, metric.kind, metric.value) == (None, 7, 0, 0xFFFFFFF8)
    for name, value in (("speed", "fast"), ("speed", 1 << 40), ("other", 1)):
        with pytest.raises(SparkplugError):
            bench.host.command(PUMP, name, value, NOW_MS)
    assert bench.host.take_output() == []


def test_a_command_of_a_node_and_what_it_will_tell() -> None:
    bench = Bench()
    bench.send(Verb.NBIRTH, NODE, *BIRTH, Metric("limit", None, None, DataType.FLOAT, 1.0))
    expected = bench.host.command(NODE, "limit", 0.1, NOW_MS)
    (command,) = bench.host.take_output()
    assert command.topic == "spBv1.0/plant/NCMD/line"
    (metric,) = decode(command.payload).metrics
    assert (metric.name, metric.value) == ("limit", expected)
    assert isinstance(expected, float) and 0 < abs(expected - 0.1) < 1e-7


@pytest.mark.parametrize(
    ("metrics", "why"),
    [
        ((Metric(None, 1, None, 3, 1),), "no name"),
        ((Metric("a", 1, None, 3, 1), Metric("b", 1, None, 3, 1)), "alias 1"),
    ],
)
def test_a_birth_that_breaks_the_standard_is_refused(metrics: tuple[Metric, ...], why: str) -> None:
    bench = Bench()
    bench.born()
    bench.seq = 0
    with pytest.raises(SparkplugError, match=why):
        bench.send(Verb.NBIRTH, NODE, *BIRTH, *metrics)
    assert told(bench.speed(4, seq=2)) == [4]  # and what was known before stays


def test_a_message_without_its_number_is_refused() -> None:
    bench = Bench()
    for seq in (None, 256):
        with pytest.raises(SparkplugError, match="sequence number"):
            bench.send(Verb.NBIRTH, NODE, *BIRTH, seq=seq)
    bench.born()
    with pytest.raises(SparkplugError, match="sequence number"):
        bench.speed(1, seq=None)


def test_nodes_and_metrics_are_bounded_6() -> None:
    bench = Bench(nodes_max=2, metrics_max=5)
    for name in ("a", "b"):
        bench.send(Verb.NBIRTH, Source("plant", name), *BIRTH, seq=0)
    with pytest.raises(SparkplugError, match="edge nodes"):
        bench.send(Verb.NBIRTH, Source("plant", "c"), *BIRTH, seq=0)
    for _ in range(5):  # what is replaced counts no more
        bench.send(Verb.NBIRTH, Source("plant", "a"), *BIRTH, seq=0)
    with pytest.raises(SparkplugError, match="metrics"):
        bench.send(Verb.DBIRTH, Source("plant", "a", "d"), SPEED, Metric("x", 1, None, 3, 1), seq=1)


_topics = st.sampled_from([topic_of(verb, PUMP if verb[0] == "D" else NODE) for verb in Verb if verb is not Verb.STATE])
_metrics = st.builds(Metric, st.sampled_from([None, "speed", BD_SEQ]), st.sampled_from([None, 7, 8]), st.none(),
                     st.just(DataType.INT32), st.integers(-9, 9))  # fmt: skip
_payloads = st.builds(
    Payload, st.none(), st.lists(_metrics, max_size=2).map(tuple), st.sampled_from([None, 0, 1, 2, 9])
)


@given(st.lists(st.tuples(_topics | st.text(max_size=9), _payloads.map(encode) | st.binary(max_size=9)), max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_messages_give_events_or_the_one_error_13(messages: list[tuple[str, bytes]]) -> None:
    bench = Bench()
    for topic, payload in messages:
        try:
            bench.host.receive(topic, payload, bench.now, NOW_MS)
        except SparkplugError:
            continue
    bench.host.handle_timer(1e9, NOW_MS)
    assert all(decode(one.payload) for one in bench.host.take_output())
