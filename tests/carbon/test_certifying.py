"""Certificates of several projects over one ledger: whatever is done, and wherever it stops (§10, §11)."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.carbon.accounts import Account
from taihu.carbon.certificates import CertificateRefused
from taihu.carbon.certifying import Certifier
from taihu.carbon.ledger import Ledger
from taihu.carbon.rows import Role, Row, RowQuality
from taihu.kernel.errors import TransientError
from taihu.kernel.sections import AccountConfig

HOUR = 3_600_000_000_000
PROJECTS = ("farm", "mill", "shop")
MADE, DRAWN, LINE = 3.0, 2.0, 1.5
ACCOUNTS = {
    (project, one.key): Account(project, "UTC", one)
    for project in PROJECTS
    for one in (
        AccountConfig(meter="pv-thing", name="pv", generation="energy"),
        AccountConfig(meter="main", imported="energy"),
        AccountConfig(meter="line", imported="energy"),
    )
}


METERS: tuple[tuple[str, Role, str, dict[str, Any]], ...] = (
    ("pv", Role.GENERATION, "-", {"generation_kwh": MADE}),
    ("main", Role.GRID, "", {"import_kwh": DRAWN, "export_kwh": 0.0}),
    ("line", Role.SUBMETER, "main", {"import_kwh": LINE, "export_kwh": 0.0}),
)


def rows() -> Iterator[Row]:
    for project in PROJECTS:
        for hour in range(2):
            for meter, role, behind, figures in METERS:
                yield Row(
                    project=project, meter=meter, role=role, behind=behind, start=hour * HOUR, end=(hour + 1) * HOUR,
                    coverage=1.0, quality=RowQuality.MEASURED, factors=(), inputs=(), **figures,
                )  # fmt: skip


class Breaking(Ledger):
    """A ledger whose disk may fail as it keeps the events of certificates."""

    broken = False

    def add_events(self, events: Any, now_ns: int) -> None:
        if self.broken:
            with suppress(sqlite3.IntegrityError):  # the last cannot be written: the first was, in its transaction
                super().add_events([*events, (None, b"{}")], now_ns)  # type: ignore[list-item]
            raise TransientError("The disk is full.", "Free space.")
        super().add_events(events, now_ns)


def certifier(ledger: Ledger, granted: Any = lambda reader, project, thing: True) -> Certifier:
    return Certifier(ledger, lambda project, name, at: ACCOUNTS.get((project, name)), granted)


def operations() -> Any:
    project, hour = st.sampled_from(PROJECTS), st.integers(0, 1)
    amount = st.integers(1, 3_000)
    bundle = st.sampled_from([f"{start}b{hour}" for start in ("", "farm/", "mill/", "mill/farm/") for hour in range(2)])
    owner = st.sampled_from(("ann", "bo"))
    return st.tuples(
        project,
        st.one_of(
            st.builds(
                lambda hour, amount: {
                    "type": "issue", "bundle": f"b{hour}", "device": "pv", "owner": "ann", "start": hour * HOUR,
                    "end": (hour + 1) * HOUR, "amount_wh": amount,
                },
                hour, amount,
            ),
            st.builds(
                lambda bundle, owner, to, amount, other: {
                    "type": "transfer", "bundle": bundle, "owner": owner, "to": to, "amount_wh": amount,
                    "project": other,
                },
                bundle, owner, owner, amount, st.sampled_from(("", *PROJECTS)),
            ),
            st.builds(
                lambda bundle, owner, consumer, amount: {
                    "type": "cancel", "bundle": bundle, "owner": owner, "consumer": consumer, "amount_wh": amount,
                },
                bundle, owner, st.sampled_from(("main", "line")), amount,
            ),
        ),
        st.sampled_from(("", "", "", "again", "fails")),
    )  # fmt: skip


def check(one: Certifier) -> None:
    """Nothing is lost, nothing is there twice, nothing stands for energy that was not."""
    found = {project: one.registry(project) for project in PROJECTS}
    for hour in range(2):
        start = hour * HOUR
        issued = sum(sum(registry.issued(start).values()) for registry in found.values())
        held = sum(
            amount
            for registry in found.values()
            for bundles in registry.holdings(
                [name for name, one in registry.bundles.items() if one.start == start]
            ).values()
            for amount in bundles.values()
        )
        cancelled = {project: registry.consumers(start) for project, registry in found.items()}
        assert issued <= 1_000 * MADE * len(PROJECTS)
        assert held + sum(sum(consumers.values()) for consumers in cancelled.values()) == issued
        for consumers in cancelled.values():
            assert sum(consumers.values()) <= 1_000 * DRAWN  # the line is behind the main meter
            assert consumers.get("line", 0) <= 1_000 * LINE


@settings(max_examples=15, deadline=None)
@given(st.lists(operations(), max_size=25))
def test_invariants_hold_over_projects_in_any_order_and_with_a_disk_that_fails(wanted: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        ledger = Breaking(Path(folder) / "carbon.sqlite")
        ledger.append(list(rows()), "", 1)
        one = certifier(ledger)
        for project, operation, what in wanted:
            ledger.broken = what == "fails"
            with suppress(CertificateRefused, TransientError):
                one.certify(project, operation, 1)
            if what == "again":
                one = certifier(ledger)  # as after a crash
            check(one)
        kept, again = one, certifier(ledger)
        for project in PROJECTS:
            assert again.registry(project).bundles == kept.registry(project).bundles
        check(again)
        ledger.close()


def test_a_certificate_crosses_a_border_by_a_grant_alone_11(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "carbon.sqlite")
    ledger.append(list(rows()), "", 1)
    grants = {("mill", "farm", "pv-thing")}
    one = certifier(ledger, lambda *asked: asked in grants)
    issue = {"type": "issue", "bundle": "b", "device": "pv", "owner": "farm", "start": 0, "end": HOUR,
             "amount_wh": 3_000, "location": "CN"}  # fmt: skip
    one.certify("farm", issue, 1)
    give = {"type": "transfer", "bundle": "b", "owner": "farm", "to": "mill", "amount_wh": 2_500, "project": "mill"}
    with pytest.raises(CertificateRefused, match="granted shop nothing"):
        one.certify("farm", give | {"project": "shop"}, 1)
    one.certify("farm", give, 1)
    bundle = one.registry("mill").bundles["farm/b"]
    assert (bundle.device, bundle.start, bundle.issued_wh, bundle.location) == ("farm/pv", 0, 2_500, "CN")
    assert (one.registry("farm").held("farm"), one.registry("mill").held("mill")) == ({"b": 500}, {"farm/b": 2_500})
    assert one.registry("mill").issued_wh == 0  # it was made by the farm
    use = {"type": "cancel", "bundle": "farm/b", "owner": "mill", "consumer": "line", "amount_wh": 1_500}
    one.certify("mill", use, 1)
    with pytest.raises(CertificateRefused, match="500 Wh of it are still unmatched"):
        one.certify("mill", use | {"consumer": "main", "amount_wh": 501}, 1)
    one.certify("mill", use | {"consumer": "main", "amount_wh": 500}, 1)
    with pytest.raises(CertificateRefused, match="granted shop nothing"):  # what came from elsewhere is no device's own
        one.certify("mill", give | {"bundle": "farm/b", "owner": "mill", "project": "shop", "amount_wh": 1}, 1)
    grants.add(("shop", "mill", ""))
    one.certify("mill", give | {"bundle": "farm/b", "owner": "mill", "project": "shop", "amount_wh": 1}, 1)
    assert one.registry("shop").bundles["mill/farm/b"].device == "farm/pv"
    for wrong, said in (
        (issue | {"bundle": "farm/c", "amount_wh": 1}, "of another project"),
        ({"type": "receive", "bundle": "x/b", "device": "x/pv", "owner": "mill", "sender": "x", "start": 0, "end": HOUR,
          "amount_wh": 9}, "received by itself"),
        (give | {"bundle": "none"}, "granted mill nothing"),
    ):  # fmt: skip
        with pytest.raises(CertificateRefused, match=said):
            one.certify("mill" if wrong["type"] == "receive" else "farm", wrong, 1)
    ledger.close()


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from test_certifying import Ledger, Path, certifier
one = certifier(Ledger(Path(sys.argv[1])))
give = {"type": "transfer", "bundle": "b", "owner": "o", "to": "o", "amount_wh": 1, "project": "mill"}
while True:
    one.certify("farm", give, 1)
"""


def test_a_process_that_is_killed_between_the_sides_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "carbon.sqlite"
    ledger = Ledger(path)
    ledger.append(list(rows()), "", 1)
    certifier(ledger).certify("farm", {"type": "issue", "bundle": "b", "device": "pv", "owner": "o", "start": 0,
                                       "end": HOUR, "amount_wh": 3_000}, 1)  # fmt: skip
    ledger.close()
    command = [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)]
    with subprocess.Popen(command) as process, sqlite3.connect(path) as watch:
        while watch.execute("SELECT count(*) FROM certificates").fetchone()[0] < 7:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    watch.close()
    ledger = Ledger(path)
    check(certifier(ledger))
    assert certifier(ledger).registry("mill").held("o")["farm/b"] > 0
    ledger.close()
