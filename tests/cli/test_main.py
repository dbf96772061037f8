"""The command line starts fast, says what is wrong in one line, and exits with the documented codes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from taihu.cli.main import EXIT_REFUSED, EXIT_TRY_AGAIN, EXIT_USAGE, exit_code, run, taihu
from taihu.kernel.errors import ConfigError, DamagedError, LocalError, RemoteError, TransientError

HEAVY = {"duckdb", "nicegui", "sqlalchemy", "numpy", "starlette", "uvicorn", "rich", "msgspec", "asyncio", "deltalake"}


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No site and no node of the surroundings."""
    monkeypatch.chdir(tmp_path)
    for name in ("TAIHU_URL", "TAIHU_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def modules_after(code: str) -> set[str]:
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_help_and_import_load_nothing_heavy() -> None:
    assert modules_after("import taihu") & (HEAVY | {"click"}) == set()
    assert modules_after("from taihu.cli.main import main; main(['--help'])") & HEAVY == set()
    assert modules_after("from taihu.cli.main import main; main(['demo', '--help'])") & (HEAVY - {"asyncio"}) == set()


def commands(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*before, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*before, name))


@pytest.mark.parametrize("words", list(commands(taihu)))
def test_every_command_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--help"]) == 0
    assert f"Usage: taihu {' '.join(words)}" in capsys.readouterr().out


def test_the_list_of_commands_says_what_each_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in taihu.list_commands(click.Context(taihu)):
        assert f"\n  {name} " in shown


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["nonsense"], EXIT_USAGE, "No such command"),
        (["demo", "--for", "-3s"], EXIT_USAGE, "not a length of time"),
        (["history", "a/b/c", "--token", "x", "--tz", "No/Where"], EXIT_USAGE, "no time zone"),
        (["run", "nowhere"], EXIT_REFUSED, "taihu init"),
        (["console", "nowhere"], EXIT_REFUSED, "taihu init"),
        (["things"], EXIT_REFUSED, "set TAIHU_TOKEN, or name the site with --site"),
        (["read", "A/b", "--token", "x"], EXIT_REFUSED, "cannot name a project"),
        (["history", "a/b", "--token", "x"], EXIT_REFUSED, "write project/thing/property"),
        (["things", "--token", "x", "--url", "http://127.0.0.1:1"], EXIT_TRY_AGAIN, "No node answers at"),
        (["things", "--token", "x", "--url", "ftp://a"], EXIT_REFUSED, "not the address of a node"),
    ],
)
def test_errors_say_what_to_do(words: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == code
    shown = capsys.readouterr()
    assert line in shown.err and shown.out == ""
    assert code == EXIT_USAGE or shown.err.count("\n") == 1


def test_each_kind_of_error_has_its_code() -> None:
    errors = (LocalError("a"), ConfigError("a"), TransientError("a"), DamagedError("a"), RemoteError("a"))
    assert [exit_code(error) for error in errors] == [1, 3, 4, 5, 5]


def test_init_writes_a_site_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "mine"]) == 0
    assert "taihu run mine" in capsys.readouterr().out
    assert run(["init", "mine"]) == EXIT_REFUSED
    assert "exists already" in capsys.readouterr().err


def test_what_the_disk_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("mine")
    assert run(["init", "taken/site"]) == EXIT_REFUSED
    shown = capsys.readouterr().err
    assert shown.startswith("taihu: ") and "taken" in shown and shown.count("\n") == 1


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    from taihu import __version__

    assert [run(words) for words in (["version"], ["--version"], ["version", "--json"])] == [0, 0, 0]
    assert capsys.readouterr().out.splitlines() == [__version__, __version__, f'{{"version":"{__version__}"}}']


def test_who_stops_reading_is_no_defect() -> None:
    """`taihu ... | head`: the pipe is closed before all is written."""
    script = "from taihu.cli.main import main; main(['completion', 'bash'])"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
