"""Commands that start something: run, console, demo, init, bench, version."""

import gc
from pathlib import Path

import click

from taihu import __version__

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FOLDER = click.Path(file_okay=False, path_type=Path)


def duration(text: str) -> float:
    """A length of time such as 90, 60s, 5m or 2h, in seconds."""
    scale = _SECONDS.get(text[-1:])
    try:
        seconds = float(text[:-1] if scale else text) * (scale or 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"{text!r} is not a length of time such as 60s, 5m or 2h")
    return seconds


@click.command()
@click.argument("site", type=_FOLDER, default=".")
@click.option("--upstream", metavar="URL", help="Send to this centre, such as mqtts://centre.example:8883.")
def run(site: Path, upstream: str | None) -> None:
    """Run the site in folder SITE until Ctrl-C."""
    gc.disable()  # what is imported stays
    from taihu.runtime.run import main

    gc.enable()
    main(site, upstream)


@click.command()
@click.argument("site", type=_FOLDER, default=".")
def console(site: Path) -> None:
    """Show the site in folder SITE, on which a node runs, as web pages until Ctrl-C."""
    from taihu.cli.client import connect
    from taihu.console.app import main
    from taihu.kernel.config import load_site
    from taihu.runtime.run import PortTaken, port_free
    from taihu.runtime.supervise import port_holder
    from taihu.runtime.webconsole import console_options

    content = load_site(site)
    host, port = content.console.host, content.console.port
    node = connect(None, None, site)
    if not port_free(host, port):
        raise PortTaken(
            f"Port {port} (console.port) is taken by {port_holder(port)}.",
            "Stop it, or set another console.port in site.toml.",
        )
    click.echo(f"The pages: {content.console.address}    (Ctrl-C stops)")
    main(console_options(content, node.url, content.data / "admin.token"))


@click.command()
@click.option("--dir", "folder", type=_FOLDER, default="taihu-demo", show_default=True, help="Where the demo lives.")
@click.option("--headless", is_flag=True, help="Without the page.")
@click.option("--for", "seconds", type=duration, help="Stop after so long, such as 60s; else at Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
@click.option(
    "--speed", type=click.FloatRange(1, 100_000), default=600.0, show_default=True, help="Demo seconds a second."
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=1883, show_default=True, help="MQTT; the next free one if taken."
)
@click.option(
    "--http-port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="HTTP API, likewise."
)
@click.option(
    "--console-port", type=click.IntRange(0, 65_535), default=8090, show_default=True, help="The page, likewise."
)
def demo(
    folder: Path,
    headless: bool,
    seconds: float | None,
    as_json: bool,
    speed: float,
    port: int,
    http_port: int,
    console_port: int,
) -> None:
    """Run 17 measured houses as 17 projects and their district as the 18th, on a demo clock.

    A second start goes on from the stored history.
    """
    from taihu.runtime.demo import Options, main

    main(
        Options(
            folder=folder,
            headless=headless,
            seconds=seconds,
            as_json=as_json,
            speed=speed,
            mqtt_port=port,
            http_port=http_port,
            console_port=console_port,
        )
    )


@click.command()
@click.argument("folder", type=_FOLDER)
def init(folder: Path) -> None:
    """Write a commented site.toml into FOLDER."""
    from taihu.kernel.config import write_example

    path = write_example(folder)
    click.echo(f"Wrote {path}. Edit it, then start it with: taihu run {folder}")


@click.command()
@click.option(
    "--for", "seconds", type=duration, default="10s", show_default=True, help="How long each measurement takes."
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def bench(seconds: float, as_json: bool) -> None:
    """Measure how many readings this machine takes over and stores, each acknowledged after the sync."""
    from taihu.runtime.bench import main

    main(seconds, as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def version(as_json: bool) -> None:
    """Print the version."""
    click.echo(f'{{"version":"{__version__}"}}' if as_json else __version__)
