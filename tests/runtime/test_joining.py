"""Devices that register themselves hold up nobody, and many together cost few syncs (§6)."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.faults.peers import Peer, run
from tests.faults.support import PROJECT, LiveNode

from taihu.identity.directory import Directory
from taihu.identity.join import Joined, JoinRefused
from taihu.identity.principal import CredentialKind, Project
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import LimitError, TaihuError, TransientError
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Puback
from taihu.runtime.ingest.joining import Joining

MANY = 300
CROWD = 5_000


class Watched(Directory):
    """Counts its transactions."""

    groups: list[int]
    broken = False

    def join_all(self, requests: Sequence[tuple[str, str]], now_ns: int) -> list[Joined | JoinRefused]:
        self.groups.append(len(requests))
        if self.broken:
            raise RuntimeError("a defect")
        return super().join_all(requests, now_ns)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(
        tmp_path / "metadata.db", SimClock(), Limits(join_things_max=CROWD, join_things_per_minute_max=CROWD)
    )
    made.groups = []
    made.create_project(Project(name=PROJECT))
    yield made
    made.close()


def test_a_crowd_is_registered_by_few_syncs(directory: Watched) -> None:
    """5,000 devices at once: each gets a token of its own, one too many and a stranger are refused."""
    token = directory.issue_token(CredentialKind.JOIN, PROJECT)[1]
    refused: list[tuple[str, str, str]] = []

    async def crowd() -> list[Joined | BaseException]:
        joining = Joining(directory, SimClock(), Limits())
        joining.on_refused = lambda *told: refused.append(told)
        asked = [joining.join(token, f"m{number}") for number in range(CROWD + 1)]
        return await asyncio.gather(*asked, joining.join("stranger", "m"), return_exceptions=True)

    answers = asyncio.run(crowd())
    joined = [answer for answer in answers if isinstance(answer, Joined)]
    assert len({answer.token for answer in joined}) == CROWD and len(directory.groups) <= 12
    assert [type(answer) for answer in answers[-2:]] == [JoinRefused, JoinRefused]
    assert [(project, name) for project, name, _ in refused] == [(PROJECT, f"m{CROWD}")]


def test_too_many_wait_and_a_defect_answers_all(directory: Watched) -> None:
    token = directory.issue_token(CredentialKind.JOIN, PROJECT)[1]

    async def scene() -> list[Joined | TaihuError]:
        joining = Joining(directory, SimClock(), Limits(joins_waiting_max=3))
        answers: list[Joined | TaihuError] = []
        directory.broken = True
        for number in range(3):
            joining.ask(token, f"m{number}", answers.append)
        with pytest.raises(LimitError):
            joining.ask(token, "m3", answers.append)
        while len(answers) < 3:
            await asyncio.sleep(0.001)
        directory.broken = False
        joining.ask(token, "m4", answers.append)
        joining.ask(token, "m5", lambda answer: answers.append(answers[9]))
        joining.ask(token, "m6", answers.append)
        while len(answers) < 5:
            await asyncio.sleep(0.001)
        await joining.close()
        return answers

    assert [type(answer) for answer in asyncio.run(scene())] == [TransientError] * 3 + [Joined] * 2


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("joining") / "site"
    live = LiveNode(folder, ["pump"], {"join_things_max": MANY, "join_things_per_minute_max": MANY})
    directory = Directory(live.site.data / "metadata.db", SimClock(), live.site.limits)
    live.tokens["join"] = directory.issue_token(CredentialKind.JOIN, PROJECT)[1]
    directory.close()
    live.start()
    yield live
    live.stop()


def test_a_store_that_stands_still_holds_up_nobody_else(node: LiveNode) -> None:
    """While another program holds the store, devices that are known connect, send and are acknowledged."""

    async def scene() -> None:
        pump, *newcomers = [
            Peer(node, "pump", node.tokens["pump"]),
            *(Peer(node, f"new-{number}", node.tokens["join"]) for number in range(MANY)),
        ]
        await newcomers[0].connect()
        newcomers[0].drop()
        await pump.connect()
        pump.publish("v1/devices/me/telemetry", b'{"a": 1}', qos=1)
        await pump.wait_for(Puback)  # its properties and the first uses of both tokens are stored
        with closing(sqlite3.connect(node.site.data / "metadata.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.gather(*(peer.connect() for peer in newcomers))
            for _ in range(20):
                pump.publish("v1/devices/me/telemetry", b'{"a": 2}', qos=1)
                await pump.wait_for(Puback)
            late = Peer(node, "watch", node.viewer)
            assert (await late.connect()).reason == 0 and not waiting.done()
            other.execute("ROLLBACK")
        assert {answer.reason for answer in await waiting} == {0}
        over = Peer(node, "one-too-many", node.tokens["join"])
        assert (await over.connect()).reason == 5
        tokens = set()
        for peer in newcomers[:5]:
            await peer.subscribe("v1/devices/me/credentials/response/+")
            peer.publish("v1/devices/me/credentials/request/1", b"")
            tokens |= {message.payload for message in await peer.messages(1)}
        assert len(tokens) == 5
        for peer in (pump, late, over, *newcomers):
            peer.drop()

    run(scene())
