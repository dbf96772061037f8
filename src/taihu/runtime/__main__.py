"""The processes of a node, which the supervisor starts.

`python -m taihu.runtime PROCESS SITE [RUNNING]`, where RUNNING is the `site.toml` that the node runs with: one broken
meanwhile must not keep a process from coming back. `python -m taihu.runtime console SITE TOKEN`.
"""

import errno
import gc
import logging
import sys
from pathlib import Path

from taihu.kernel.config import load_site, parse_site
from taihu.kernel.errors import ConfigError, TaihuError
from taihu.kernel.sections import Site


def main() -> None:
    """Run the named process for the site; what stops it is one line on stderr, with the remedy."""
    process, folder = sys.argv[1], Path(sys.argv[2])
    gc.disable()  # what is imported stays: `run_until_signal` enables it
    try:
        _run(process, folder)
    except TaihuError as error:
        sys.exit(f"taihu {process}: {error}")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.exit(f"taihu {process}: {error.strerror}: another process listens where it should; see site.toml")


def _run(process: str, folder: Path) -> None:
    site = _site(process, folder)
    if process == "ingest":
        from taihu.runtime.node import process as ingest

        ingest.main(site)
    elif process == "worker":
        from taihu.runtime.worker import process as worker

        worker.main(site)
    elif process == "field":
        from taihu.runtime.field import process as field

        field.main(site)
    elif process == "edge":
        from taihu.runtime.edge import process as edge

        edge.main(site)
    elif process == "pilot":
        from taihu.runtime.pilot import process as pilot
        from taihu.runtime.scheduling.scheduler import schedulers_of

        pilot.main(site, schedulers_of)
    elif process == "opcua":
        from taihu.runtime.opcua import process as opcua

        opcua.main(site)
    elif process == "console":
        from taihu.console.app import main as console
        from taihu.runtime.logs import start_logging
        from taihu.runtime.webconsole import console_options

        gc.enable()
        start_logging("console", site.log)
        for library in ("httpx", "nicegui"):
            logging.getLogger(library).setLevel(logging.WARNING)  # a line for every request
        host = f"[{site.http.host}]" if ":" in site.http.host else site.http.host
        url = f"http://{host}:{site.http.port}"
        console(console_options(site, url, Path(sys.argv[3])))
    else:
        raise SystemExit(f"there is no process {process}")


def _site(process: str, folder: Path) -> Site:
    try:
        return load_site(folder)
    except ConfigError as error:
        kept = process in ("ingest", "worker", "field", "edge", "pilot", "opcua") and len(sys.argv) > 3
        running = Path(sys.argv[3]) if kept else None
        if running is None or not running.exists():
            raise
        sys.stderr.write(f"taihu {process}: {error} It goes on with the file as it was.\n")
        return parse_site(running.read_text("utf-8"), folder.absolute())


if __name__ == "__main__":
    main()
