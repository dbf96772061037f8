"""The processes of a node: `python -m taihu.runtime ingest|worker|console SITE`. The supervisor starts them."""

import errno
import sys
from pathlib import Path

from taihu.kernel.config import load_site
from taihu.kernel.errors import TaihuError


def main() -> None:
    """Run the named process for the site; what stops it is one line on stderr, with the remedy."""
    process, folder = sys.argv[1], Path(sys.argv[2])
    try:
        _run(process, folder)
    except TaihuError as error:
        sys.exit(f"taihu {process}: {error}")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"taihu {process}: {error.strerror}: another process listens where it should; see site.toml")


def _run(process: str, folder: Path) -> None:
    site = load_site(folder)
    if process == "ingest":
        from taihu.runtime import ingest

        ingest.main(site)
    elif process == "worker":
        from taihu.runtime import worker

        worker.main(site)
    elif process == "console":
        from taihu.console.app import main as console

        host = f"[{site.http.host}]" if ":" in site.http.host else site.http.host
        url = f"http://{host}:{site.http.port}"
        console(url, Path(sys.argv[3]), site.console.host, site.console.port)
    else:
        raise SystemExit(f"there is no process {process}")


if __name__ == "__main__":
    main()
