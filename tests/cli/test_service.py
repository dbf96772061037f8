"""Commands for whoever runs a site as a service: the unit, completion in a real shell, and the node's state."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taihu.cli.main import EXIT_REFUSED, EXIT_TRY_AGAIN, run
from taihu.kernel.config import parse_site
from taihu.kernel.errors import RefusedError
from taihu.runtime.systemd import unit_text

TOOLS = Path(sys.executable).parent
ANALYZE = shutil.which("systemd-analyze")


def unit(text: str) -> dict[str, str]:
    found = configparser.RawConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    return dict(found["Service"])


def test_the_unit_names_the_site_and_shuts_it_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text('[site]\ntitle = "The works at Wuxi"\n')
    assert run(["systemd", str(tmp_path), "--user", "works"]) == 0
    text = capsys.readouterr().out
    assert "Description=Taihu: The works at Wuxi\n" in text
    found = unit(text)
    executable, command, folder = found["ExecStart"].split()
    assert Path(executable).is_absolute() and (command, folder) == ("run", str(tmp_path))
    assert (found["Type"], found["User"], found["ReadWritePaths"]) == ("notify", "works", str(tmp_path / "data"))
    assert found["CapabilityBoundingSet"] == "" and found["ProtectSystem"] == "strict"


def test_the_unit_allows_what_the_site_needs() -> None:
    low = parse_site("[http]\nport = 80\n[limits]\nmqtt_connections_max = 50000\n", Path("/srv/site"))
    found = unit(unit_text(low, Path("/usr/bin/taihu"), "taihu"))
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert int(found["LimitNOFILE"]) > 50_000 and found["ProtectHome"] == "yes"
    home = parse_site("", Path("/home/ada/site"))
    assert unit(unit_text(home, Path("/usr/bin/taihu"), "ada"))["ProtectHome"] == "read-only"


@pytest.mark.parametrize(
    ("folder", "user"),
    [("/srv/my site", "taihu"), ("/srv/a%n", "taihu"), ("/srv/a", "taihu\nExecStartPre=/bin/sh"), ("/srv/a", "")],
)
def test_what_a_unit_cannot_say_is_refused(folder: str, user: str) -> None:
    with pytest.raises(RefusedError):
        unit_text(parse_site("", Path(folder)), Path("/usr/bin/taihu"), user)


def test_the_pages_have_a_unit_of_their_own_that_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text("[console]\nport = 443\n")
    assert run(["systemd", str(tmp_path), "--console"]) == 0
    found = unit(capsys.readouterr().out)
    assert found["ExecStart"].split()[1:] == ["console", str(tmp_path)] and "ReadWritePaths" not in found
    assert found["ProtectSystem"] == "strict" and found["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    assert ANALYZE is not None
    paths = [tmp_path / "taihu.service", tmp_path / "taihu-console.service"]
    for path in paths:
        pages = path is paths[1]
        path.write_text(unit_text(parse_site("", tmp_path), TOOLS / "taihu", "root", console=pages))
    done = subprocess.run([ANALYZE, "verify", *paths], capture_output=True, text=True, check=False)
    about_us = [line for line in done.stderr.splitlines() if "taihu" in line]
    assert (done.returncode, about_us) == (0, []), done.stderr


def completed(words: str) -> list[str]:
    """What bash offers after `words`, the last of which is being typed."""
    script = (
        'source <(taihu completion bash)\nCOMP_LINE="$1"; COMP_WORDS=($1); [[ "$1" == *" " ]] && COMP_WORDS+=("")\n'
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_taihu_completion taihu\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", words], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_choices() -> None:
    assert completed("taihu hist") == ["history"]
    assert completed("taihu token re") == ["revoke"]
    assert completed("taihu history a/b/c --en") == ["--end"]
    assert completed("taihu completion ") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(
    ("shell", "mark"), [("zsh", "#compdef taihu"), ("fish", "complete --no-files --command taihu")]
)
def test_other_shells_have_their_scripts(shell: str, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert mark in script and "_TAIHU_COMPLETE" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)


def test_where_no_node_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--site", str(tmp_path)]) == EXIT_REFUSED
    (tmp_path / "site.toml").touch()
    for command in ("status", "reload"):
        assert run([command, "--site", str(tmp_path)]) == EXIT_TRY_AGAIN
        assert "taihu run" in capsys.readouterr().err
