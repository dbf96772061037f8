"""§14: a site of an older release is saved, migrated and verified; a run that was cut off is run again."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from taihu.cli.main import EXIT_DAMAGED, EXIT_REFUSED, EXIT_TRY_AGAIN, run
from taihu.history.manifest import SCHEMA_VERSION
from taihu.identity.directory import Directory
from taihu.identity.schema import MIGRATIONS
from taihu.kernel.clock import SystemClock
from taihu.kernel.config import load_site
from taihu.runtime import upgrade as module
from taihu.runtime.upgrade import upgrade, versions

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(params=range(1, max(len(MIGRATIONS), SCHEMA_VERSION) + 1))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The kept samples of one release's stores, as a site."""
    number = request.param
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "site.toml").touch()
    database = sqlite3.connect(data / "metadata.db")
    sample = DATA / f"metadata_v{min(number, len(MIGRATIONS))}"
    database.executescript((sample / "metadata.sql").read_text())
    database.close()
    (data / "metadata.db").chmod(0o600)
    if (sample / "audit.head").exists():
        shutil.copy(sample / "audit.head", data)
    shutil.copytree(DATA / f"history_v{min(number, SCHEMA_VERSION)}", data / "history")
    return tmp_path


def found(site: Path) -> dict[str, int]:
    return {store.name: store.found for store in versions(load_site(site)) if store.name != "journal"}


def newest(site: Path) -> dict[str, int]:
    return {store.name: store.newest for store in versions(load_site(site)) if store.name != "journal"}


def test_every_kept_version_is_brought_to_the_newest(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = found(site)
    assert run(["upgrade", str(site), "--check", "--json"]) == 0
    assert found(site) == before, "a look changes nothing"
    capsys.readouterr()
    assert run(["upgrade", str(site), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert {store["name"]: store["found"] for store in done["stores"]} == before | {"journal": 0}
    assert found(site) == newest(site)
    assert bool(done["saved"]) == (before != newest(site))
    if done["saved"]:
        saved = Path(done["saved"])
        assert saved.stat().st_mode & 0o777 == 0o700
        old = sqlite3.connect(saved / "metadata.db")
        assert old.execute("SELECT version FROM schema_version").fetchone()[0] == before["metadata"]
        old.close()
    assert run(["upgrade", str(site)]) == 0
    assert "older" not in capsys.readouterr().out
    directory = Directory(site / "data" / "metadata.db", SystemClock())
    assert directory.project("house-01") is not None
    directory.close()


@pytest.mark.parametrize("step", ["saving", "migrating", "verifying"])
def test_a_run_that_was_cut_off_is_run_again(site: Path, step: str) -> None:
    if found(site) == newest(site):
        pytest.skip("this one is the newest")

    def cut(at: str) -> None:
        if at == step:
            raise KeyboardInterrupt

    content, before = load_site(site), found(site)
    with pytest.raises(KeyboardInterrupt):
        upgrade(content, cut)
    done = upgrade(content)
    assert found(site) == newest(site)
    if step != "verifying":
        assert done.saved
    (saved,) = (site / "data").glob("before-upgrade-*")
    old = sqlite3.connect(saved / "metadata.db")
    assert old.execute("SELECT version FROM schema_version").fetchone()[0] == before["metadata"], "not saved over"
    old.close()


def test_what_is_not_upgraded(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holder = Directory(site / "data" / "metadata.db", SystemClock())
    assert run(["upgrade", str(site)]) == EXIT_TRY_AGAIN
    holder.close()
    database = sqlite3.connect(site / "data" / "history" / "manifest.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    assert run(["upgrade", str(site)]) == EXIT_REFUSED
    assert "history has version 99" in capsys.readouterr().err
    (site / "data" / "history" / "manifest.sqlite").write_bytes(b"x" * 4096)
    assert run(["upgrade", str(site)]) == EXIT_DAMAGED
    assert module._journal_version(DATA / "journal_v1") == 1 and module._journal_version(site / "nowhere") == 0
