"""The site's configuration: `site.toml` read into frozen structs, with every fault told by file and line.

An empty file is a valid site.
"""

from importlib.resources import files
from pathlib import Path

import msgspec

from taihu.kernel.errors import ConfigError
from taihu.kernel.sections import Site, SiteFile
from taihu.kernel.site_checks import faults_of
from taihu.kernel.toml import located, read_toml

FILE_NAME = "site.toml"


def load_site(folder: Path) -> Site:
    """Read `site.toml` of a site folder.

    Raises:
        ConfigError: with the line as `where`, and in `remedy` what to write instead.
    """
    return parse_site(read_text(folder), folder.absolute())


def read_text(folder: Path, name: str = FILE_NAME) -> str:
    """The text of a site's `site.toml`, or of another file there; errors as of `load_site`."""
    folder = folder.absolute()
    try:
        return (folder / name).read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"No {name} in {folder}.", f"Run: taihu init {folder}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot be read: {error}.", "Save it as UTF-8 text.", name) from None


def parse_site(text: str, folder: Path, name: str = FILE_NAME) -> Site:
    """Check the text of a `site.toml`, or of a file like it, that stands for `folder`; errors as of `load_site`."""
    content = read_toml(text, SiteFile, name)
    tables = {name: getattr(content, name) for name in SiteFile.__struct_fields__}
    tables["limits"] = msgspec.structs.replace(content.limits)  # its own: a reload changes it in place
    site = Site(folder=folder, **tables)
    for fault in faults_of(site):
        raise located(fault, text, name)
    return site


def write_example(folder: Path) -> Path:
    """Write the commented `site.toml` of a new site and return its path.

    Raises:
        ConfigError: there is one already; it is left as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(example_text())
    except FileExistsError:
        raise ConfigError(f"{path} exists already.", "Edit it, or name another folder.") from None
    return path


def example_text() -> str:
    """The commented example: every section, with its defaults."""
    return files("taihu.kernel").joinpath("site_example.toml").read_text("utf-8")
