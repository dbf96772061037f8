"""Each fault is made and found, with its remedy; a healthy site has none, whether its node runs or not."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.faults.support import CLOCK, PROJECT, LiveNode, wait_until, write_certificate
from tests.ports import free_port

from taihu.cli.main import EXIT_FAULTS, EXIT_WARNINGS, run
from taihu.identity.pki.authority import Authority
from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.config import load_site
from taihu.kernel.files import OsFiles
from taihu.runtime.doctor import access, devices, machine
from taihu.runtime.doctor.case import Case, State, lock_holder
from taihu.runtime.doctor.examine import ALSO, CHECKS, CONFIG, open_case
from taihu.runtime.doctor.finding import Finding, Severity
from taihu.runtime.doctor.plans import plans
from taihu.runtime.ingest.spool import FileSpool
from taihu.runtime.pilot.decisions import Decisions
from taihu.things.batch import FLAG_STAMPED, KIND_BATCH, Batch, Column, encode_batch

DOCS = Path(__file__).parents[2] / "docs" / "doctor.md"
HOUR_NS = 3600 * NS_PER_S


def examine(folder: Path, *, quick: bool = False, machine_too: bool = False) -> list[Finding]:
    """What is found on a site; not what this machine alone brings, unless asked."""
    case = open_case(folder, quick=quick)
    assert isinstance(case, Case)
    of_machine = (machine.disk, machine.open_files, machine.clock)
    return [found for check in CHECKS.values() if machine_too or check not in of_machine for found in check(case)]


def only(findings: list[Finding], check: str) -> Finding:
    """The one finding there is; it says what, why and what to do."""
    (found,) = findings
    assert found.check == check
    assert found.what and found.why and found.remedy
    return found


def write_site(folder: Path, text: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.toml").write_text(f"[mqtt]\nport = {free_port()}\n[http]\nport = {free_port()}\n{text}")
    return folder


def case_of(folder: Path) -> Case:
    found = open_case(folder)
    assert isinstance(found, Case)
    return found


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose node has taken readings and stopped in good order: journal, history and snapshots."""
    node = LiveNode(tmp_path_factory.mktemp("doctor") / "site", ["pump"], {"journal_segment_bytes": 2_000})
    node.start()
    for power in range(40):
        assert node.ask("POST", f"/api/v1/{node.tokens['pump']}/telemetry", b'{"power": %d}' % power).status == 200
    node.settle()
    node.stop()
    return node.folder


@pytest.fixture
def site(lived: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(lived, tmp_path / "site", ignore=shutil.ignore_patterns("*.sock")))


def segments(site: Path) -> list[Path]:
    return sorted((site / "data" / "journal").glob("*.seg"))


def test_a_healthy_site_that_stands_has_no_fault(site: Path) -> None:
    assert len(segments(site)) > 2 and list((site / "data" / "history").rglob("*.parquet"))
    assert examine(site) == examine(site, quick=True) == []
    assert case_of(site).state is State.STOPPED
    fresh = write_site(site.parent / "fresh")
    assert examine(fresh) == []


def test_a_node_that_runs_is_examined_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = LiveNode(tmp_path / "site", ["pump", "fan"])
    node.start()
    try:
        device = f"/api/v1/{node.tokens['pump']}/telemetry"
        for _ in range(3):
            assert node.ask("POST", device, b'{"power": 1}').status == 200
        node.settle()
        assert examine(node.folder) == [] and case_of(node.folder).state is State.RUNNING

        for _ in range(12):
            node.ask("POST", device, b'{"power": "high"}')
        found = only(examine(node.folder), "quarantine")
        assert f"{PROJECT}/pump: the string 'high'" in found.what and "12 of the last 12" in found.what
        assert found.severity is Severity.WARNING and f"taihu tail {PROJECT}" in found.remedy

        node.kill("worker")
        wait_until(lambda: node.status()["worker"] == "away", "the worker is away")
        lag = next(each for each in examine(node.folder) if each.check == "lag")
        assert lag.severity is Severity.ERROR

        case = case_of(node.folder)
        assert case.status is not None
        case.status["clock_stepped_s"] = -3600.0  # as the node tells when somebody sets the clock
        assert any("-3,600.0 s" in each.what for each in machine.clock(case))

        node.signal("ingest", signal.SIGSTOP)
        silent = next(each for each in access.lock(_impatient(node.folder)) if each.check == "lock")
        assert silent.severity is Severity.ERROR and f"kill {node.processes['ingest'].pid}" in silent.remedy
        node.signal("ingest", signal.SIGCONT)

        node.kill("ingest")
        found = only([each for each in examine(node.folder) if each.check == "lock"], "lock")
        assert found.severity is Severity.NOTE and "without an orderly stop" in found.what
        capsys.readouterr()
        assert run(["doctor", str(node.folder), "--json"]) in (0, EXIT_WARNINGS)
        assert json.loads(capsys.readouterr().out)["state"] == "crashed"
    finally:
        node.stop()


def _impatient(folder: Path) -> Case:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taihu.runtime.doctor.case._ANSWER_S", 0.2)
        return case_of(folder)


def test_the_holder_of_a_lock_is_found_without_touching_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_holder(path) is None
    script = f"import fcntl, sys; f = open({str(path)!r}, 'w'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert lock_holder(path) == process.pid
        process.communicate()
    assert lock_holder(path) is None


def test_a_broken_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text("[mqtt]\nprot = 1\n")
    found = open_case(tmp_path)
    assert isinstance(found, Finding)
    assert only([found], CONFIG).what.startswith("site.toml:2:") and "port?" in found.remedy
    assert run(["doctor", str(tmp_path)]) == EXIT_FAULTS
    assert "error: config" in capsys.readouterr().out


def test_a_taken_port_and_who_has_it(tmp_path: Path) -> None:
    site = write_site(tmp_path)
    port = load_site(site).http.port
    with socket.create_server(("127.0.0.1", port)):
        found = only(examine(site), "ports")
    assert f"port {port} (http.port)" in found.what and f"(pid {os.getpid()})" in found.what


@pytest.mark.parametrize("name", ["admin.token", "metadata.db"])
def test_a_secret_that_others_may_read(site: Path, name: str) -> None:
    path = site / "data" / name
    path.chmod(0o640)
    found = only(examine(site), "rights")
    assert "its group" in found.what and found.remedy.startswith(f"chmod 600 {path}")
    path.chmod(0o644)
    assert "everybody" in only(examine(site), "rights").what


def test_a_folder_that_others_may_enter_and_a_key_that_they_may_read(site: Path) -> None:
    (site / "data").chmod(0o755)
    assert only(examine(site), "rights").remedy == f"chmod 700 {site / 'data'}"
    (site / "data").chmod(0o700)
    write_certificate(site)
    text = (site / "site.toml").read_text()
    tls = 'tls_port = 0\ncertificate = "cert.pem"\nkey = "key.pem"\n'
    (site / "site.toml").write_text(text.replace("[http]\n", f"[http]\n{tls}"))
    (site / "key.pem").chmod(0o644)
    found = [each for each in examine(site) if each.check == "rights"]
    assert only(found, "rights").remedy.startswith(f"chmod 600 {site / 'key.pem'}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_another_user(site: Path) -> None:
    os.chown(segments(site)[0], 12345, 12345)
    found = only(examine(site), "rights")
    assert "1 files do not belong" in found.what and found.remedy.startswith("chown -R --reference=")


def test_certificates_that_expire_or_do_not_fit(site: Path) -> None:
    write_certificate(site)  # for a day
    tls = 'tls_port = 0\ncertificate = "cert.pem"\nkey = "key.pem"\n'
    text = (site / "site.toml").read_text()
    (site / "site.toml").write_text(text.replace("[http]\n", f"[http]\n{tls}"))
    for path in ("key.pem", "cert.pem"):
        (site / path).chmod(0o600)
    found = only(examine(site), "certificates")
    assert found.severity is Severity.WARNING and "expires on" in found.what and "taihu reload" in found.remedy

    case = case_of(site)
    case.clock = SimClock(CLOCK.now_ns() + 48 * HOUR_NS)
    assert [each.severity for each in access.certificates(case)] == [Severity.ERROR]
    case.clock = SimClock(CLOCK.now_ns() - 48 * HOUR_NS)
    assert ["valid only from" in each.what for each in access.certificates(case)] == [True, False]

    certificate = (site / "cert.pem").read_bytes()
    write_certificate(site)
    (site / "cert.pem").write_bytes(certificate)
    found = next(each for each in examine(site) if each.severity is Severity.ERROR)
    assert found.check == "certificates" and "cannot be used" in found.what
    (site / "cert.pem").write_text("hello")
    assert any("cannot be read" in each.what for each in examine(site))


def test_authorities_their_lists_and_what_they_signed(site: Path) -> None:
    now = CLOCK.now_ns()
    assert run(["ca", "init", "--site", str(site), "--days", "60"]) == 0
    assert run(["ca", "issue", PROJECT, "pump", "--site", str(site), "--out", str(site / "files"), "--days", "20"]) == 0
    assert examine(site) == [], "the thing has a token, too"
    assert run(["token", "list", PROJECT, "--json", "--site", str(site)]) == 0
    database = sqlite3.connect(site / "data" / "metadata.db")
    database.execute("UPDATE credentials SET revoked_at = 1 WHERE id NOT IN (SELECT credential FROM certificates)")
    database.commit()
    database.close()
    found = only(examine(site), "certificates")
    assert f"of 1 things end within 30 days or have ended, that of {PROJECT}/pump" in found.what

    other = Authority.create(OsFiles(), site / "other", "other", 20, now - 31 * 24 * HOUR_NS, b"")
    (site / "other.crl").write_bytes(other.revocation_list([], now - 31 * 24 * HOUR_NS))
    text = (site / "site.toml").read_text()
    (site / "site.toml").write_text(f'[ca]\ntrusted = "other/ca.crt"\nrevoked = "other.crl"\n{text}')
    words = [each.what for each in examine(site)]
    assert any("other.crl ([ca] revoked) is out of date" in each for each in words)
    assert any("other/ca.crt ([ca] trusted) expired" in each for each in words)
    (site / "other.crl").write_text("hello")
    assert any("no revocation list" in each.what for each in examine(site))


@pytest.mark.parametrize("place", [0.0, 0.5])
def test_a_flipped_bit_in_the_journal(site: Path, place: float) -> None:
    path = segments(site)[0]
    data = bytearray(path.read_bytes())
    data[int(len(data) * place) + 20] ^= 1
    path.write_bytes(data)
    found = only(examine(site), "journal")
    assert found.severity is Severity.ERROR and path.name in found.what and "taihu restore" in found.remedy
    assert examine(site, quick=True) == [], "a quick look reads the end alone"


def test_what_a_crash_left_at_the_end_of_the_journal_is_no_damage(site: Path) -> None:
    with segments(site)[-1].open("ab") as file:
        file.write(b"half a record")
    assert only(examine(site), "journal").severity is Severity.NOTE


def test_a_damaged_file_of_the_history(site: Path) -> None:
    path = next((site / "data" / "history").rglob("*.parquet"))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert "bytes in place of" in only(examine(site), "history").what
    path.write_bytes(data[:-1] + b"2")
    assert "no whole Parquet file" in only(examine(site), "history").what
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert "its checksum differs" in only(examine(site), "history").what
    path.unlink()
    assert "is not there" in only(examine(site), "history").what


@pytest.mark.parametrize(("name", "check"), [("history/manifest.sqlite", "history"), ("metadata.db", "metadata")])
def test_a_damaged_database(site: Path, name: str, check: str) -> None:
    path = site / "data" / name
    data = bytearray(path.read_bytes())
    data[1024:] = b"\xa5" * (len(data) - 1024)
    path.write_bytes(data)
    for other in path.parent.glob(f"{path.name}-*"):
        other.unlink()
    found = only([each for each in examine(site) if each.check != "rights"], check)
    assert found.severity is Severity.ERROR and "taihu restore" in found.remedy


@pytest.mark.parametrize(
    ("name", "statement", "check"),
    [
        ("history/manifest.sqlite", "PRAGMA user_version = 99", "history"),
        ("metadata.db", "UPDATE schema_version SET version = 99", "metadata"),
    ],
)
def test_a_store_of_a_later_release(site: Path, name: str, statement: str, check: str) -> None:
    database = sqlite3.connect(site / "data" / name)
    database.execute(statement)
    database.commit()
    database.close()
    assert "version 99" in only(examine(site), check).what


def test_damaged_snapshots(site: Path) -> None:
    for name in ("twin.snapshot", "broker.snapshot"):
        path = site / "data" / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert only(examine(site), "metadata").remedy == f"rm {path}"
        path.write_bytes(data)


def test_a_long_queue_lies_in_files(site: Path) -> None:
    """One is sound, one is damaged, one is not there."""
    queue = ((), [(number, 1, 10) for number in (1, 2, 3)], ())
    state = msgspec.msgpack.encode((2, 0, 4, [], [("listener", 0, 0, 0, queue)], []))
    placed = bytes(8) + state
    (site / "data" / "broker.snapshot").write_bytes(zlib.crc32(placed).to_bytes(4, "little") + placed)
    spool = FileSpool(OsFiles(), site / "data" / "spool")
    spool.put(1, b"sound")
    spool.put(2, b"spoilt")
    spoilt = site / "data" / "spool" / f"{2:016x}.queue"
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    assert examine(site, quick=True) == []
    damaged, absent = examine(site)
    assert f"{2:016x}.queue cannot be read or is damaged" in damaged.what
    assert f"{3:016x}.queue is not there" in absent.what and absent.check == "metadata"


def test_a_scheduler_that_waits(tmp_path: Path) -> None:
    scheduler = '[[project.scheduler]]\nname = "flexible"\nnet = "meter/power"\nbase = "meter/base"\n'
    scheduler += "[project.scheduler.buys]\nprice = 0.3\n[[project.scheduler.battery]]\n"
    scheduler += 'name = "b"\nthing = "b"\ncapacity_kwh = 10\npower_kw = 5\n'
    case = case_of(write_site(tmp_path, f'[[project]]\nname = "home"\n{scheduler}'))
    case.paths.decisions.parent.mkdir(parents=True, exist_ok=True)
    store = Decisions(case.paths.decisions)
    store.wait("home", "flexible", "There is no thing 'meter' here.")
    store.wait("home", "gone", "It is no longer in site.toml.")
    assert not list(plans(case))  # the node stands
    case.state = State.RUNNING
    assert "There is no thing 'meter' here." in only(list(plans(case)), "plans").what
    store.wait("home", "flexible", "")
    store.close()
    assert not list(plans(case))


def test_what_was_set_aside(site: Path) -> None:
    (site / "data" / "broker.snapshot.damaged").write_bytes(b"x")
    assert "set aside" in only(examine(site), "aside").what


def batch(thing: str, received: int, *observed: int, flags: bytes = b"") -> Batch:
    times = b"".join(each.to_bytes(8, "little", signed=True) for each in observed)
    values = Column("d", bytes(8 * len(observed)))
    return Batch(
        PROJECT, "", ("power",), ("other", thing), b"\1\0\0\0" * len(observed), received, times, flags, (values,)
    )


def test_a_record_that_is_no_batch_of_this_release(site: Path) -> None:
    limits = load_site(site).limits
    journal = SegmentJournal(
        OsFiles(), site / "data" / "journal", segment_bytes=1 << 20, retention_bytes=limits.journal_retention_bytes,
        retention_s=limits.journal_retention_s, clock=CLOCK,
    )  # fmt: skip
    journal.append(KIND_BATCH, b"something else")
    journal.close()
    assert "are not readings" in only(examine(site), "journal").what


def test_a_clock_behind_the_newest_reading(site: Path) -> None:
    limits = load_site(site).limits
    journal = SegmentJournal(
        OsFiles(), site / "data" / "journal", segment_bytes=1 << 20, retention_bytes=limits.journal_retention_bytes,
        retention_s=limits.journal_retention_s, clock=CLOCK,
    )  # fmt: skip
    later = CLOCK.now_ns() + HOUR_NS
    journal.append(KIND_BATCH, encode_batch(batch("pump", later, later)))
    journal.close()
    found = only(examine(site), "clock")
    assert found.severity is Severity.ERROR and "timedatectl" in found.remedy


def test_a_machine_without_its_time(site: Path) -> None:
    case = case_of(site)
    case.clock = SimClock(86_400 * NS_PER_S)
    assert any("shows 1970-01-02" in each.what for each in machine.clock(case))
    assert machine._ntp() in (True, False, None)


def test_clocks_of_devices() -> None:
    now = CLOCK.now_ns()
    right = batch("right", now, now - NS_PER_S, now)
    fast = batch("fast", now, now + 90 * NS_PER_S)
    slow = batch("slow", now, *[now - 8 * HOUR_NS] * 3)
    catching_up = batch("catching-up", now, now - 8 * HOUR_NS, now - 4 * HOUR_NS, now)
    stamped = batch("stamped", now, now + HOUR_NS, flags=bytes([FLAG_STAMPED]))
    first, second = devices.skews([right, fast, slow, catching_up, stamped])
    assert "plant/fast is 90 s ahead" in first.what and first.severity is Severity.WARNING
    assert "plant/slow are at least 8.0 h old" in second.what and second.severity is Severity.NOTE


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.check_call(["umount", "--lazy", str(folder)])


def test_a_full_disk_and_one_that_forgets(small_disk: Path, tmp_path: Path) -> None:
    case = case_of(write_site(tmp_path / "site", f'[node]\ndata = "{small_disk}/data"\n'))
    assert ["tmpfs" in each.what for each in machine.disk(case)] == [True]
    (small_disk / "fill").write_bytes(bytes(7_700_000))
    assert [each.severity for each in machine.disk(case)] == [Severity.ERROR] * 1 + [Severity.WARNING]
    (small_disk / "fill").write_bytes(bytes(7_900_000))
    full = next(iter(machine.disk(case)))
    assert full.check == "disk" and "is full" in full.what and "du -xsh" in full.remedy


def test_too_few_open_files(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site")
    command = f"ulimit -n 256; exec {sys.executable} -m taihu.cli.main doctor {site} --json"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_WARNINGS, done.stderr
    found = next(each for each in json.loads(done.stdout)["findings"] if each["check"] == "open-files")
    assert "256 files" in found["what"] and "ulimit -n 21512" in found["remedy"]


def test_zone_data_that_is_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zones = tmp_path / "zoneinfo"
    (zones / "Asia").mkdir(parents=True)
    case = case_of(write_site(tmp_path / "site", '[site]\ntimezone = "Asia/Shanghai"\n'))
    assert list(machine.zones(case)) == []
    kept = machine._packaged_zone("Asia/Shanghai")
    assert kept is not None
    import importlib.resources

    wrong = importlib.resources.files("tzdata").joinpath("zoneinfo", "Europe", "Berlin").read_bytes()
    (zones / "Asia" / "Shanghai").write_bytes(wrong)
    monkeypatch.setattr(machine, "TZPATH", (str(zones),))
    assert "Asia/Shanghai" in only(list(machine.zones(case)), "zones").what


def test_the_whole_machine_is_looked_at(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    findings = examine(site, machine_too=True)
    code = run(["doctor", str(site)])
    shown = capsys.readouterr().out
    assert f"{len(CHECKS)} checks, the node is stopped" in shown
    assert code == (0 if all(each.severity is Severity.NOTE for each in findings) else EXIT_WARNINGS)
    for each in findings:
        assert f"{each.severity}: {each.check}" in shown and each.remedy in shown


def test_every_check_has_its_heading() -> None:
    page = DOCS.read_text("utf-8")
    headings = {line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")}
    assert headings == {*CHECKS, *ALSO, CONFIG}
