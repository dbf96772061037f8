"""Commands for certificates of things: ca and what is below it."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from taihu.cli.admin import Administration, administration_options, json_option
from taihu.cli.output import MISSING, printable, show, show_json, time_text
from taihu.cli.passphrase import read_passphrase
from taihu.kernel.clock import DAY_NS, NS_PER_S
from taihu.kernel.errors import RefusedError

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
_authority = click.option(
    "--authority", type=_FILE, help="The certificates (PEM) by which the node is known.  [default: the system's]"
)
_https = click.option("--url", required=True, help="The node's HTTPS address, such as https://node.example.org:8443.")


@click.group()
def ca() -> None:
    """Make certificates by which things come in, renew and revoke them."""
    import taihu.identity.pki  # noqa: F401 - says what to install where `cryptography` is not


@ca.command("init")
@click.option("--site", type=_FOLDER, default=".", help="The folder of the site.")
@click.option("--name", help="What the authority is called.  [default: the site's name]")
@click.option("--days", type=click.IntRange(1, 36_500), default=3_650, show_default=True, help="How long it is good.")
@click.option("--passphrase-file", type=_FILE, help="Encrypt the authority's key with what this file holds.")
@json_option
def ca_init(site: Path, name: str | None, days: int, passphrase_file: Path | None, as_json: bool) -> None:
    """Make the certificate authority of a site, once."""
    from taihu.identity.pki.authority import CERTIFICATE, Authority
    from taihu.kernel.clock import SystemClock
    from taihu.kernel.config import load_site
    from taihu.kernel.files import OsFiles
    from taihu.runtime.paths import Paths

    content = load_site(site)
    passphrase = read_passphrase(passphrase_file)
    folder = Paths(content.data).ca
    title = name or f"{content.site.title or content.site.name} authority"
    Authority.create(OsFiles(), folder, title, days, SystemClock().now_ns(), passphrase)
    if as_json:
        show_json({"certificate": str(folder / CERTIFICATE)})
        return
    click.echo(f"Made {folder / CERTIFICATE}. A node that runs knows of it after: taihu reload --site {site}")
    if passphrase_file is not None:
        click.echo("Set [ca] passphrase_file in site.toml, so that the node can sign.")


@ca.command("issue")
@click.argument("project", required=False)
@click.argument("thing", required=False)
@click.option("--server", "hosts", multiple=True, help="For a server of this host name or address; may be repeated.")
@click.option("--out", type=_FOLDER, default=".", help="Where the files go.  [default: here]")
@click.option("--request", type=_FILE, help="Sign this PKCS #10 request, in place of making a key.")
@click.option("--days", type=click.IntRange(1, 3_650), help="How long it is good.")
@click.option("--label", default="", help="A note of what it is for.")
@json_option
@administration_options
def ca_issue(
    to: Administration,
    project: str | None,
    thing: str | None,
    hosts: tuple[str, ...],
    out: Path,
    request: Path | None,
    days: int | None,
    label: str,
    as_json: bool,
) -> None:
    """Make a key and certificate of THING in PROJECT, or of a server, and write them into files."""
    if bool(hosts) == bool(thing):
        raise click.UsageError("Name PROJECT and THING, or --server HOST.")
    from taihu.cli.enrolment import Key

    stem = quote(hosts[0] if hosts else thing or "", safe="")
    key = None if request else Key.make()
    paths = [out / f"{stem}.crt", *([out / f"{stem}.key"] if key else [])]
    for path in paths:
        if path.exists():
            raise RefusedError(f"{path} is there already.", "Name another folder with --out.")
    text = request.read_text("utf-8") if request else key.request().decode() if key else ""
    if hosts:
        answer = to.act("server-certificate", hosts=list(hosts), request=text, days=days)
    else:
        answer = to.act("certificate-issue", project=project, thing=thing, request=text, days=days, label=label)
    out.mkdir(parents=True, exist_ok=True)
    if key:
        _write(paths[1], key.pem())
    _write(paths[0], answer["certificate"].encode(), 0o644)
    authority = out / "ca.crt"
    if not authority.exists():
        _write(authority, answer["authority"].encode(), 0o644)
    if as_json:
        show_json(answer | {"files": [str(path) for path in (*paths, authority)]})
    else:
        click.echo(f"Wrote {', '.join(map(str, paths))}; good until {time_text(answer['expires_at'])}.")


@ca.command("enroll")
@click.argument("project")
@click.argument("thing")
@click.option("--hours", type=click.IntRange(1, 2_160), default=24, show_default=True, help="How long it is good.")
@json_option
@administration_options
def ca_enroll(to: Administration, project: str, thing: str, hours: int, as_json: bool) -> None:
    """Make a token with which THING fetches its first certificate itself, once."""
    answer = to.act("enrolment-issue", project=project, thing=thing, hours=hours)
    if as_json:
        show_json(answer)
        return
    click.echo(answer["token"])
    click.echo(f"Good once, until {time_text(answer['expires_at'] // NS_PER_S * NS_PER_S)}: taihu ca request", err=True)


@ca.command("request")
@_https
@_authority
@click.option("--token", envvar="TAIHU_ENROLMENT", required=True, help="The enrolment token [TAIHU_ENROLMENT].")
@click.option("--certificate", type=_FILE, default="thing.crt", show_default=True, help="Where it is written.")
@click.option("--key", type=_FILE, default="thing.key", show_default=True, help="The key; made when it is not there.")
@json_option
def ca_request(url: str, authority: Path | None, token: str, certificate: Path, key: Path, as_json: bool) -> None:
    """On a device: make a key and fetch the first certificate for it, with an enrolment token."""
    from taihu.cli.enrolment import Key, enroll

    if certificate.exists():
        raise RefusedError(f"{certificate} is there already.", "Renew it: taihu ca renew")
    own = Key.read(key) if key.exists() else Key.make()
    if not key.exists():
        _write(key, own.pem())
    found = enroll(url, authority, own, token=token)
    _write(certificate, found.pem, 0o644)
    _fetched(certificate, found.expires_at, as_json)


@ca.command("renew")
@_https
@_authority
@click.option("--certificate", type=_FILE, default="thing.crt", show_default=True, help="The present certificate.")
@click.option("--key", type=_FILE, default="thing.key", show_default=True, help="Its key.")
@click.option("--days-left", type=click.IntRange(0), help="Only if it is good for no more than so many days.")
@json_option
def ca_renew(
    url: str, authority: Path | None, certificate: Path, key: Path, days_left: int | None, as_json: bool
) -> None:
    """On a device: fetch a new certificate by the present one, and put it in its place."""
    from taihu.cli.enrolment import Key, enroll, expires_at
    from taihu.kernel.clock import SystemClock

    ends = expires_at(certificate)
    if days_left is not None and ends - SystemClock().now_ns() > days_left * DAY_NS:
        if as_json:
            show_json({"renewed": False, "expires_at": ends})
        else:
            click.echo(f"{certificate} is good until {time_text(ends)}: nothing to do.")
        return
    found = enroll(url, authority, Key.read(key), present=(certificate, key))
    draft = certificate.with_name(certificate.name + ".new")
    draft.unlink(missing_ok=True)
    _write(draft, found.pem, 0o644)
    draft.replace(certificate)
    _fetched(certificate, found.expires_at, as_json)


@ca.command("revoke")
@click.argument("project")
@click.argument("number", metavar="ID")
@click.option("--reason", default="", help="Why, as a revocation list says it, such as keyCompromise.")
@json_option
@administration_options
def ca_revoke(to: Administration, project: str, number: str, reason: str, as_json: bool) -> None:
    """End the certificate ID (or serial number) of PROJECT at once; who is connected with it is disconnected."""
    answer = to.act("certificate-revoke", project=project, id=number, reason=reason)
    if as_json:
        show_json(answer)
    else:
        click.echo(f"Revoked {answer['revoked']}.")


@ca.command("crl")
@click.option("--out", type=_FILE, help="Write it into this file.  [default: print it]")
@json_option
@administration_options
def ca_crl(to: Administration, out: Path | None, as_json: bool) -> None:
    """Print the list of revoked certificates as PEM, for other programs that believe the authority."""
    answer = to.act("revocation-list")
    if out is not None:
        out.write_text(answer["list"])
    if as_json:
        show_json(answer)
    elif out is None:
        click.echo(answer["list"], nl=False)
    else:
        click.echo(f"Wrote {out}: {answer['count']} revoked.")


@ca.command("list")
@click.argument("project", required=False)
@json_option
@administration_options
def ca_list(to: Administration, project: str | None, as_json: bool) -> None:
    """List the certificates of PROJECT, or of all projects."""
    answer = to.act("certificate-list", project=project or "")
    if as_json:
        show_json(answer)
        return
    from taihu.kernel.clock import SystemClock

    now = SystemClock().now_ns()
    rows = [
        (
            one["id"],
            printable(f"{one['project']}/{one['thing']}"),
            _state(one, now),
            time_text(one["expires_at"]),
            one["serial"],
            printable(one["label"]) or MISSING,
        )
        for one in map(_plain, answer["certificates"])
    ]
    show(("id", "thing", "state", "expires", "serial", "label"), rows)


def _plain(one: Any) -> dict[str, Any]:
    """A certificate as it comes from the API, or from the store."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(one)
    return found


def _state(one: dict[str, Any], now: int) -> str:
    if one["revoked_at"]:
        return "revoked"
    if one["expires_at"] <= now:
        return "expired"
    return "used" if one["first_used_at"] else "unused"


def _fetched(path: Path, ends: int, as_json: bool) -> None:
    if as_json:
        show_json({"renewed": True, "certificate": str(path), "expires_at": ends})
    else:
        click.echo(f"Wrote {path}; good until {time_text(ends)}.")


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a new file that only `mode` may read, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
