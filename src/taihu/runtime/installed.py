"""Whether what a site asks for is installed: looked at before anything starts, without loading it."""

from importlib.util import find_spec

from taihu.kernel.errors import ConfigError
from taihu.kernel.sections import Site


def check_installed(site: Site) -> None:
    """Raise ConfigError when the site has an OPC UA server and its library is not there."""
    if site.opcua.port is not None and not is_installed("asyncua"):
        raise ConfigError("[opcua] port needs asyncua.", "Run: pip install 'taihu[opcua]'", "site.toml")


def is_installed(module: str) -> bool:
    """Whether a module of an extra is there."""
    return find_spec(module) is not None
