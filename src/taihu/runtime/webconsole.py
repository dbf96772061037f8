"""How the console is served for a site."""

from pathlib import Path

from taihu.console.app import Options
from taihu.kernel.addresses import is_loopback
from taihu.kernel.sections import Site
from taihu.runtime.paths import Paths


def console_options(site: Site, api: str, token: Path) -> Options:
    """The console of a site whose API is at `api`.

    While nobody can sign in, it is open with the token in the file `token` to programs of this machine; never where
    others reach it.
    """
    config = site.console
    exposed = bool(config.url) or not is_loopback(config.host)
    return Options(
        api=api,
        host=config.host,
        port=config.port,
        token=None if exposed else token,
        relay=Paths(site.data).console_token,
        address=config.address,
        certificate=(site.path(config.certificate), site.path(config.key)) if config.certificate else None,
    )
