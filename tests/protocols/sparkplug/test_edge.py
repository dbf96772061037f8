"""The edge node's machine: births, changes, history, deaths, commands, and the wait for a primary host."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.protocols.sparkplug.decode import decode
from taihu.protocols.sparkplug.edge import Commanded, Edge, Event, HostGone
from taihu.protocols.sparkplug.encode import encode
from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.host import Born, Died, Host, Told
from taihu.protocols.sparkplug.kinds import DataType
from taihu.protocols.sparkplug.messages import BD_SEQ, REBIRTH, Publication
from taihu.protocols.sparkplug.payload import Metric, Parameter, Payload, PropertyValue, Template
from taihu.protocols.sparkplug.topics import Source

NOW = 1_767_571_200_000
NBIRTH, NDEATH = "spBv1.0/plant/NBIRTH/line", "spBv1.0/plant/NDEATH/line"
DBIRTH, DDATA = "spBv1.0/plant/DBIRTH/line/pump", "spBv1.0/plant/DDATA/line/pump"
STATE = "spBv1.0/STATE/scada"
UNIT = {"engUnit": PropertyValue(DataType.STRING, "m/s"), "Quality": PropertyValue(DataType.INT32, 192)}
PUMP = (
    Metric("speed", timestamp=NOW - 5, kind=DataType.DOUBLE, value=1.5, properties=UNIT),
    Metric("running", timestamp=NOW - 9, kind=DataType.BOOLEAN, value=None),
)
MOTOR = Template(
    definition=True, members=(Metric("rpm", kind=DataType.INT32), Metric("on", kind=DataType.BOOLEAN)),
    parameters=(Parameter("poles", DataType.INT32, 4),),
)  # fmt: skip


def instance(*members: str, ref: str = "Motor", parameters: Sequence[str] = ("poles",)) -> Template:
    return Template(ref=ref, members=tuple(Metric(name, kind=DataType.INT32, value=1) for name in members),
                    parameters=tuple(Parameter(name, DataType.INT32, 2) for name in parameters))  # fmt: skip


def connected(edge: Edge, now: int = NOW) -> list[Publication]:
    edge.will(now)
    edge.connected(now)
    return edge.take_output()


def line(primary_host: str = "") -> Edge:
    edge = Edge("plant", "line", primary_host=primary_host)
    edge.declare("", (Metric("load", timestamp=NOW, kind=DataType.FLOAT, value=0.5),), NOW)
    edge.declare("pump", PUMP, NOW)
    return edge


def told(publication: Publication) -> Payload:
    return decode(publication.payload)


def order(edge: Edge, topic: str, *metrics: Metric) -> list[Event]:
    return edge.receive(topic, encode(Payload(NOW, metrics)), NOW)


def state(edge: Edge, online: bool, timestamp: int, host: str = "scada") -> list[Event]:
    return edge.receive(f"spBv1.0/STATE/{host}", msgspec.json.encode({"online": online, "timestamp": timestamp}), NOW)


def rebirth(value: Any = True) -> Metric:
    return Metric(REBIRTH, kind=DataType.BOOLEAN, value=value)


def test_its_will_is_its_death_with_the_number_of_the_connection() -> None:
    will = line().will(NOW)
    assert (will.topic, will.qos, will.retain) == (NDEATH, 1, False)
    payload = told(will)
    assert payload.seq is None
    assert payload.metrics == (Metric(BD_SEQ, None, NOW, DataType.INT64, 0),)


def test_numbers_of_connections_begin_at_zero_go_on_after_a_restart_and_go_round() -> None:
    edge = Edge("plant", "line")
    numbers = [told(edge.will(NOW)).metrics[0].value for _ in range(2)]
    edge = Edge("plant", "line", edge.bd_seq)
    numbers += [told(edge.will(NOW)).metrics[0].value for _ in range(256)]
    assert numbers == [0, 1, *range(2, 256), 0, 1]


def test_will_birth_and_death_of_a_connection_have_its_number() -> None:
    edge = line()
    for number in range(3):
        will = edge.will(NOW)
        edge.connected(NOW)
        birth = edge.take_output()[0]
        edge.goodbye(NOW)
        (death,) = edge.take_output()
        found = [
            next(one.value for one in told(message).metrics if one.name == BD_SEQ) for message in (will, birth, death)
        ]
        assert found == [number] * 3
        edge.connection_lost()


def test_births_are_the_first_messages_of_node_and_then_devices() -> None:
    edge = line()
    assert [topic for topic, _ in edge.filters()] == ["spBv1.0/plant/NCMD/line", "spBv1.0/plant/DCMD/line/+"]
    assert {qos for _, qos in edge.filters()} == {1}
    assert edge.take_output() == []  # nothing before the connection
    node, pump = connected(edge)
    assert (node.topic, pump.topic) == (NBIRTH, DBIRTH)
    for publication in (node, pump):
        assert (publication.qos, publication.retain) == (0, False)
        assert told(publication).timestamp == NOW
    metrics = {one.name: one for one in told(node).metrics}
    assert set(metrics) == {BD_SEQ, REBIRTH, "load"}
    assert (metrics[BD_SEQ].kind, metrics[BD_SEQ].value) == (DataType.INT64, 0)
    rebirth_metric = metrics[REBIRTH]
    assert (rebirth_metric.alias, rebirth_metric.kind, rebirth_metric.value) == (None, DataType.BOOLEAN, False)
    assert (told(node).seq, told(pump).seq) == (0, 1)


def test_births_say_names_aliases_types_times_and_values_in_order_of_time() -> None:
    edge = line()
    node, pump = map(told, connected(edge))
    running, speed = pump.metrics
    assert (running.name, speed.name) == ("running", "speed")  # the older first
    assert (speed.kind, speed.value, speed.timestamp, speed.properties) == (DataType.DOUBLE, 1.5, NOW - 5, UNIT)
    assert (running.kind, running.value) == (DataType.BOOLEAN, None)
    aliases = [one.alias for payload in (node, pump) for one in payload.metrics if one.name not in (BD_SEQ, REBIRTH)]
    assert None not in aliases and len(set(aliases)) == len(aliases)
    assert b"\x38\x01" in encode(Payload(metrics=(running,)))  # is_null, and no value


def test_changes_alone_are_told_by_alias_with_times_and_one_number_more_each() -> None:
    edge = line()
    births = connected(edge)
    alias = {one.name: one.alias for one in told(births[1]).metrics}
    changes = [Metric("speed", timestamp=NOW + 2, value=2.5), Metric("running", timestamp=NOW + 1, value=True)]
    assert edge.tell("pump", changes, NOW + 3)
    (data,) = edge.take_output()
    assert (data.topic, data.qos, data.retain) == (DDATA, 0, False)
    payload = told(data)
    assert (payload.timestamp, payload.seq) == (NOW + 3, 2)
    assert payload.metrics == (
        Metric(None, alias["running"], NOW + 1, 0, True),
        Metric(None, alias["speed"], NOW + 2, 0, 2.5),
    )
    edge.tell("pump", [Metric("speed", value=2.5)], NOW)  # it is no change
    assert edge.take_output() == []
    edge.tell("", [Metric("load", value=0.75)], NOW + 4)
    (data,) = edge.take_output()
    assert data.topic == "spBv1.0/plant/NDATA/line"
    assert (data.qos, data.retain) == (0, False)
    assert (told(data).seq, told(data).timestamp, told(data).metrics[0].timestamp) == (3, NOW + 4, NOW + 4)
    with pytest.raises(SparkplugError, match="not declared"):
        edge.tell("pump", [Metric("other", value=1)], NOW)


def test_numbers_of_messages_go_round() -> None:
    edge = line()
    numbers = [told(one).seq for one in connected(edge)]
    for value in range(600):
        edge.tell("", [Metric("load", value=float(value))], NOW)
        numbers += [told(one).seq for one in edge.take_output()]
    assert numbers == [number % 256 for number in range(602)]


def test_a_rebirth_is_a_whole_birth_of_the_same_connection() -> None:
    edge = line()
    connected(edge)
    edge.tell("pump", [Metric("speed", value=9.0)], NOW)
    edge.take_output()
    assert order(edge, "spBv1.0/plant/NCMD/line", rebirth()) == []
    node, pump = edge.take_output()
    assert (node.topic, told(node).seq, pump.topic, told(pump).seq) == (NBIRTH, 0, DBIRTH, 1)
    assert {one.name: one.value for one in told(node).metrics}[BD_SEQ] == 0
    assert {one.name: one.value for one in told(pump).metrics}["speed"] == 9.0
    order(edge, "spBv1.0/plant/NCMD/line", rebirth(False))
    assert edge.take_output() == []


def test_commands_come_by_name_or_alias_and_other_nodes_are_not_ours() -> None:
    edge = line()
    alias = {one.name: one.alias for one in told(connected(edge)[1]).metrics}
    dcmd = "spBv1.0/plant/DCMD/line/pump"
    assert order(edge, dcmd, Metric("speed", kind=DataType.DOUBLE, value=3.0)) == [Commanded("pump", "speed", 3.0)]
    by_alias = encode(Payload(NOW, (Metric(None, alias["running"], kind=11, value=True),)), with_kinds=False)
    assert edge.receive(dcmd, by_alias, NOW) == [Commanded("pump", "running", True)]
    assert order(edge, dcmd, Metric("other", kind=DataType.DOUBLE, value=3.0)) == []
    assert order(edge, "spBv1.0/plant/DCMD/line/nobody", Metric("speed", kind=10, value=3.0)) == []
    assert order(edge, "spBv1.0/plant/NCMD/other", rebirth()) == []
    assert edge.take_output() == []


def test_a_device_that_goes_dies_and_one_that_comes_is_born() -> None:
    edge = line()
    connected(edge)
    edge.remove("pump", NOW + 1)
    (death,) = edge.take_output()
    assert (death.topic, death.qos, death.retain) == ("spBv1.0/plant/DDEATH/line/pump", 0, False)
    assert (told(death).seq, told(death).timestamp, told(death).metrics) == (2, NOW + 1, ())
    edge.declare("pump", PUMP, NOW + 2)
    (birth,) = edge.take_output()
    assert (birth.topic, told(birth).seq) == (DBIRTH, 3)


def test_it_says_good_bye_by_its_death() -> None:
    edge = line()
    connected(edge)
    edge.goodbye(NOW + 1)
    (death,) = edge.take_output()
    assert (death.topic, told(death).seq, told(death).metrics[0].value) == (NDEATH, None, 0)
    assert not edge.born
    assert edge.tell("pump", [Metric("speed", value=7.0)], NOW) is False
    assert edge.take_output() == []


def test_what_could_not_be_told_is_told_as_history() -> None:
    edge = line()
    with pytest.raises(SparkplugError, match="before the births"):
        edge.tell_history("pump", [Metric("speed", timestamp=NOW, value=1.0)], NOW)
    connected(edge)
    edge.tell_history("pump", [Metric("speed", timestamp=NOW - 50, value=1.0), Metric("gone", value=1)], NOW)
    (data,) = edge.take_output()
    (metric,) = told(data).metrics
    assert (data.topic, metric.historical, metric.timestamp, metric.value) == (DDATA, True, NOW - 50, 1.0)


def test_it_waits_for_its_primary_host_and_no_other() -> None:
    edge = line("scada")
    assert (STATE, 1) in edge.filters()
    assert connected(edge) == []
    assert state(edge, True, NOW, host="other") == []
    assert edge.take_output() == []
    assert edge.tell("pump", [Metric("speed", value=7.0)], NOW) is False
    assert state(edge, True, 500) == []
    assert [one.topic for one in edge.take_output()] == [NBIRTH, DBIRTH]
    state(edge, True, 600)
    assert edge.take_output() == []


def test_when_its_primary_host_goes_it_dies_and_leaves_unless_the_news_is_old() -> None:
    edge = line("scada")
    connected(edge)
    state(edge, True, 500)
    edge.take_output()
    assert state(edge, False, 499) == []
    assert edge.born
    assert state(edge, False, 500) == [HostGone()]
    (death,) = edge.take_output()
    assert death.topic == NDEATH
    edge.connection_lost()
    assert connected(edge) == []  # on the next server it waits again, with the next number
    assert edge.bd_seq == 2
    assert state(edge, False, 9) == [HostGone()]
    assert edge.take_output() == []


def test_states_older_than_the_newest_say_nothing() -> None:
    edge = line("scada")
    connected(edge)
    assert state(edge, False, 700) == [HostGone()]
    assert state(edge, True, 699) == []
    assert not edge.born
    state(edge, True, 700)
    assert edge.born


def test_names_that_differ_in_case_alone_are_refused() -> None:
    edge = line()
    for names in (("a", "A"), ("", "b")):
        with pytest.raises(SparkplugError, match="case"):
            edge.declare("pump", [Metric(name, kind=3, value=1) for name in names], NOW)
    with pytest.raises(SparkplugError, match="case"):
        edge.declare("Pump", PUMP, NOW)
    for bad in ("a/b", "+"):
        with pytest.raises(SparkplugError):
            edge.declare(bad, PUMP, NOW)


def test_definitions_stand_in_the_nodes_birth_alone_and_instances_fit_them() -> None:
    edge = Edge("plant", "line")
    definition = Metric("Motor", kind=DataType.TEMPLATE, value=MOTOR)
    edge.declare("", (definition,), NOW)
    edge.declare("pump", (Metric("m", kind=DataType.TEMPLATE, value=instance("rpm", "on")),), NOW)
    node, pump = map(told, connected(edge))
    assert [one.value.definition for one in node.metrics if isinstance(one.value, Template)] == [True]
    assert [one.value.ref for one in pump.metrics] == ["Motor"]
    edge.tell("pump", [Metric("m", value=instance("rpm", parameters=()))], NOW)  # a part of the members will do
    assert len(edge.take_output()) == 1
    for wrong in (definition, Metric("m", kind=DataType.TEMPLATE, value=instance("rpm")),
                  Metric("m", kind=DataType.TEMPLATE, value=instance("rpm", "on", "other")),
                  Metric("m", kind=DataType.TEMPLATE, value=instance("rpm", "on", ref="Other")),
                  Metric("m", kind=DataType.TEMPLATE, value=instance("rpm", "on", parameters=("volts",)))):  # fmt: skip
        with pytest.raises(SparkplugError):
            edge.declare("pump", (wrong,), NOW)
    with pytest.raises(SparkplugError, match="other members"):
        edge.tell("pump", [Metric("m", value=instance("other"))], NOW)


def test_its_host_understands_all_of_it() -> None:
    """Both roles together, through births, changes, a rebirth, a command and a death."""
    edge, host = line(), Host("scada")
    host.will(NOW)
    host.connected()
    heard: list[Any] = []

    def carry(publications: list[Publication]) -> None:
        for topic, payload, *_ in publications:
            heard.extend(host.receive(topic, payload, 1.0, NOW))

    carry(connected(edge))
    edge.tell("pump", [Metric("speed", timestamp=NOW + 1, value=2.5)], NOW + 1)
    carry(edge.take_output())
    assert [type(one) for one in heard] == [Born, Born, Told]
    assert heard[2].metrics[0].name == "speed" and heard[2].metrics[0].value == 2.5
    source = Source("plant", "line", "pump")
    assert host.command(source, "speed", 4.0, NOW) == 4.0
    (command,) = [one for one in host.take_output() if "DCMD" in one.topic]
    assert edge.receive(command.topic, command.payload, NOW) == [Commanded("pump", "speed", 4.0)]
    host.ask_rebirth(source, 9.0, NOW)
    (ask,) = host.take_output()
    edge.receive(ask.topic, ask.payload, NOW)
    carry(edge.take_output())
    edge.goodbye(NOW)
    carry(edge.take_output())
    assert [type(one) for one in heard[3:]] == [Born, Born, Died, Died]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["spBv1.0/plant/NCMD/line", "spBv1.0/plant/DCMD/line/pump", STATE, "x"]),
                          st.binary(max_size=20)), max_size=5))  # fmt: skip
def test_any_messages_give_events_or_the_one_error_13(messages: list[tuple[str, bytes]]) -> None:
    edge = line("scada")
    connected(edge)
    for topic, payload in messages:
        try:
            edge.receive(topic, payload, NOW)
        except SparkplugError:
            continue
