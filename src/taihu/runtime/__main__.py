"""The processes of a node: `python -m taihu.runtime ingest|worker|console SITE`. The supervisor starts them."""

import sys
from pathlib import Path

from taihu.kernel.config import load_site


def main() -> None:
    """Run the named process for the site."""
    process, folder = sys.argv[1], Path(sys.argv[2])
    site = load_site(folder)
    if process == "ingest":
        from taihu.runtime import ingest

        ingest.main(site)
    elif process == "worker":
        from taihu.runtime import worker

        worker.main(site)
    elif process == "console":
        from taihu.console.app import main as console

        url = f"http://{site.http.host}:{site.http.port}"
        console(url, Path(sys.argv[3]), site.console.host, site.console.port)
    else:
        raise SystemExit(f"there is no process {process}")


if __name__ == "__main__":
    main()
