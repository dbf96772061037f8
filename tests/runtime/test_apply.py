"""The tokens of the node's owner and of its console: made once, and anew when their file was removed."""

from pathlib import Path

from taihu.identity.directory import Directory
from taihu.kernel.clock import SimClock
from taihu.kernel.config import load_site, write_example
from taihu.kernel.files import OsFiles
from taihu.runtime.apply import apply_site
from taihu.runtime.paths import Paths


def test_a_token_whose_file_was_removed_opens_nothing_any_more(tmp_path: Path) -> None:
    write_example(tmp_path)
    site, files = load_site(tmp_path), OsFiles()
    paths = Paths(site.data)
    files.make_folder(site.data)
    directory = Directory(paths.metadata, SimClock(), site.limits)
    apply_site(site, directory, files)
    owner, console = paths.admin_token.read_text(), paths.console_token.read_text()
    apply_site(site, directory, files)
    assert (paths.admin_token.read_text(), paths.console_token.read_text()) == (owner, console)
    paths.admin_token.unlink()
    apply_site(site, directory, files)
    renewed = paths.admin_token.read_text()
    assert renewed != owner and directory.principal(renewed) is not None
    assert directory.principal(owner) is None
    assert directory.principal(console) is not None, "the console's was not removed"
    directory.close()
