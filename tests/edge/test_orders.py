"""Commands of a centre to things of an edge node: they go down and their life comes back, once, through cuts (§7)."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.support import PROJECT, LiveNode, wait_until
from tests.link import Link
from tests.waiting import WAIT_S

from taihu.drivers.files import FOLDER, write_keyring
from taihu.runtime.edge.state import KEYS

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")

RULE = '[[project.command]]\nthing = "boiler"\nname = "power"\nmaximum = 5\n'


class Boiler:
    """A thing of the edge node: it takes commands, and answers when it is let."""

    def __init__(self, node: LiveNode) -> None:
        self.got: list[tuple[str, Any]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._listening = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(node.tokens["boiler"])
        self._client.on_message = self._take
        self._client.on_subscribe = lambda *_: self._listening.set()
        self._client.connect("127.0.0.1", node.mqtt_port)
        self._client.subscribe(f"taihu/{PROJECT}/boiler/$command", 1)
        self._client.loop_start()
        assert self._listening.wait(WAIT_S)

    def _take(self, client: Any, _: Any, message: Any) -> None:
        command = json.loads(message.payload)
        self.got.append((command["name"], command["input"]))
        threading.Thread(target=self._answer, args=(command,), daemon=True).start()

    def _answer(self, command: dict[str, Any]) -> None:
        self._say({"id": command["id"], "state": "acknowledged"})
        self.may_answer.wait(WAIT_S)
        self._say({"id": command["id"], "state": "done", "result": command["input"]})

    def _say(self, answer: dict[str, Any]) -> None:
        self._client.publish(f"taihu/{PROJECT}/boiler/$answer", json.dumps(answer), 1)

    def close(self) -> None:
        self.may_answer.set()
        self._client.disconnect()
        self._client.loop_stop()


class Both:
    """A centre, an edge node with a boiler, and the link between them."""

    def __init__(self, folder: Path) -> None:
        self.centre = LiveNode(folder / "centre", [])
        self.link = Link(self.centre.mqtt_port)
        more = f'[upstream]\nurl = "mqtt://127.0.0.1:{self.link.port}"\ncommands = true\n'
        self.edge = LiveNode(folder / "edge", ["boiler"], project=RULE, more=more)
        write_keyring(self.edge.folder / FOLDER, KEYS, {PROJECT: self.centre.operator})
        self.centre.start()
        self.edge.start("ingest", "worker", "edge")
        body = json.dumps({"power": 1.0}).encode()
        path = f"/api/v1/projects/{PROJECT}/readings?thing=boiler"
        assert self.edge.ask("POST", path, body, Content_Type="application/json").status == 200
        self.boiler = Boiler(self.edge)
        wait_until(lambda: self.centre.get(f"/projects/{PROJECT}/things/boiler").status == 200, "the thing to appear")

    def give(self, **wanted: Any) -> dict[str, Any]:
        body = json.dumps({"thing": "boiler", "deadline_s": 120, **wanted}).encode()
        answer = self.centre.ask("POST", f"/api/v1/projects/{PROJECT}/commands", body, self.centre.operator)
        assert answer.status == 201, answer
        return dict(answer.body)

    def steps(self, given: dict[str, Any]) -> list[str]:
        return [step["state"] for step in self.look(given)["steps"]]

    def look(self, given: dict[str, Any]) -> Any:
        return self.centre.get(f"/projects/{PROJECT}/commands/{given['id']}").body

    def until(self, given: dict[str, Any], state: str) -> Any:
        wait_until(lambda: self.look(given)["state"] == state, f"{given['name']} to be {state}", 60)
        return self.look(given)

    def close(self) -> None:
        self.boiler.close()
        edge = self.edge.processes["edge"]
        edge.terminate()
        assert edge.wait(WAIT_S) == 0
        self.link.close()
        self.edge.stop()
        self.centre.stop()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    one = Both(tmp_path)
    yield one
    one.close()


WHOLE = ["queued", "permitted", "sent", "acknowledged", "done"]


def test_a_command_goes_down_and_its_life_comes_back(both: Both) -> None:
    boiler = both.boiler
    done = both.until(both.give(action="blink", input={"times": 2}), "done")
    assert ([step["state"] for step in done["steps"]], done["steps"][-1]["result"]) == (WHOLE, {"times": 2})
    assert boiler.got == [("blink", {"times": 2})]
    refused = both.until(both.give(property="power", input=7.0), "failed")
    assert refused["steps"][-1]["detail"].startswith("refused at the edge node: ")
    assert "above 5" in refused["steps"][-1]["detail"]

    both.link.cut()  # what is given now waits, or expires; nothing says that it was sent
    wait_until(lambda: both.centre.get("/node").body["mqtt"]["connected"] == 0, "the centre to notice")
    late = both.give(action="late", deadline_s=1)
    waiting = both.give(property="power", input=2.0)
    assert both.steps(waiting) == ["queued", "permitted"]
    assert both.until(late, "expired")["steps"][-1]["detail"] == "the device made no contact"
    both.link.mend()
    assert [step["state"] for step in both.until(waiting, "done")["steps"]] == WHOLE
    assert "late" not in [name for name, _ in boiler.got]


def test_restarts_on_both_sides_and_a_cut_in_the_middle_do_it_once(both: Both) -> None:
    boiler = both.boiler
    boiler.may_answer.clear()
    given = both.give(action="fire", input=1)
    both.until(given, "acknowledged")
    both.link.cut()
    boiler.may_answer.set()
    both.edge.kill("edge")
    both.centre.kill("ingest")
    both.centre.start("ingest")
    assert both.look(given)["state"] == "acknowledged"
    both.edge.start("edge")
    both.link.mend()
    assert both.until(given, "done")["steps"][-1]["result"] == 1
    assert boiler.got == [("fire", 1)]
