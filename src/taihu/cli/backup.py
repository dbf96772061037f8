"""Commands that save a site and put it back: backup create, list, verify, prune and passphrase; restore."""

from pathlib import Path

import click

from taihu.cli.output import progress, show, show_json, time_text
from taihu.cli.passphrase import read_passphrase

_DAY_S = 86_400
_FOLDER = click.Path(file_okay=False, path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_key = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The passphrase of backups that are encrypted; of a new folder, encrypt what goes there.",
)


@click.group()
def backup() -> None:
    """Make backups of a site while it runs, and look after them."""


@backup.command("create")
@click.argument("folder", type=_FOLDER)
@click.option("--site", type=_FOLDER, default=".", help="The site's folder, [.] when absent.")
@click.option("--keep", type=click.IntRange(1), default=30, show_default=True, help="Days until it is to be removed.")
@_key
@_json
def backup_create(folder: Path, site: Path, keep: int, passphrase_file: Path | None, as_json: bool) -> None:
    """Add a backup of a site to FOLDER; what is there of earlier ones is not written again."""
    from taihu.kernel.clock import SystemClock
    from taihu.kernel.config import load_site
    from taihu.kernel.files import OsFiles
    from taihu.runtime.backup.making import make
    from taihu.runtime.backup.repository import BackupDamaged, Repository

    content, files = load_site(site), OsFiles()
    with progress("Reading") as bar:
        repository = Repository(files, folder, create=True, passphrase=read_passphrase(passphrase_file))
        with repository.held(alone=True):
            made = make(content, files, repository, SystemClock(), keep * _DAY_S, bar)
    if as_json:
        show_json(made)
    else:
        click.echo(
            f"Backup {made.name}: {made.files:,} files of {made.bytes:,} bytes, up to position {made.position:,} of "
            f"the journal; {made.added:,} bytes are new in {folder}."
        )
    if made.damaged:
        raise BackupDamaged(
            f"{len(made.damaged)} files of the site were damaged before they were read, such as {made.damaged[0]}.",
            "The backup has them as they are; an older one may have them whole. See: taihu doctor",
        )


@backup.command("list")
@click.argument("folder", type=_FOLDER)
@_key
@_json
def backup_list(folder: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """List the backups in FOLDER."""
    from taihu.kernel.clock import SystemClock
    from taihu.kernel.files import OsFiles
    from taihu.runtime.backup.repository import Repository

    found = Repository(OsFiles(), folder, passphrase=read_passphrase(passphrase_file)).manifests()
    now = SystemClock().now_ns()
    rows = [
        {
            "name": one.name,
            "site": one.site,
            "release": one.release,
            "made_at": one.made_at,
            "expires_at": one.expires_at,
            "position": one.position,
            "files": len(one.entries),
            "bytes": one.size,
            "state": "expired" if one.expires_at <= now else "good",
        }
        for one in found
    ]
    if as_json:
        show_json({"backups": rows})
        return
    show(
        ("backup", "site", "files", "bytes", "position", "until", "state"),
        [
            (
                one.name,
                one.site,
                f"{len(one.entries):,}",
                f"{one.size:,}",
                f"{one.position:,}",
                time_text(one.expires_at),
                str(row["state"]),
            )
            for one, row in zip(found, rows, strict=True)
        ],
        ("files", "bytes", "position"),
    )


@backup.command("verify")
@click.argument("folder", type=_FOLDER)
@click.option("--backup", "name", help="One backup; all of them when absent.")
@_key
@_json
def backup_verify(folder: Path, name: str | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Read every byte of the backups in FOLDER and compare it with its checksum; names each file that is damaged."""
    from taihu.kernel.files import OsFiles
    from taihu.runtime.backup.repository import BackupDamaged, Repository

    with progress("Comparing") as bar:
        repository = Repository(OsFiles(), folder, passphrase=read_passphrase(passphrase_file))
        with repository.held(alone=False):
            manifests = repository.manifests() if name is None else [repository.manifest(name)]
            bar.begin(sum(one.size for one in manifests))
            faults = []
            for size, fault in repository.faults(manifests):
                bar.advance(size)
                if fault is not None:
                    faults.append(fault)
    if as_json:
        show_json({"backups": [one.name for one in manifests], "faults": faults})
    elif faults:
        show(("backup", "file", "damaged piece"), [(one.backup, one.file, one.piece) for one in faults])
    else:
        click.echo("1 backup is whole." if len(manifests) == 1 else f"{len(manifests)} backups are whole.")
    if faults:
        raise BackupDamaged(
            f"{len(faults)} files of backups in {folder} are damaged.",
            "Remove the damaged pieces and make a backup: it has what the site still has. Look at the disk.",
        )


@backup.command("prune")
@click.argument("folder", type=_FOLDER)
@_key
@_json
def backup_prune(folder: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Remove the backups in FOLDER whose time is over, and what no other backup needs."""
    from taihu.kernel.clock import SystemClock
    from taihu.kernel.files import OsFiles
    from taihu.runtime.backup.repository import Repository

    repository = Repository(OsFiles(), folder, passphrase=read_passphrase(passphrase_file))
    with repository.held(alone=True):
        removed, freed = repository.prune(SystemClock().now_ns())
    if as_json:
        show_json({"removed": removed, "bytes": freed})
    else:
        click.echo(f"{len(removed)} backups removed, {freed:,} bytes freed.")


@backup.command("passphrase")
@click.argument("folder", type=_FOLDER)
@_key
@click.option(
    "--new-passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="What opens them from now on.",
)
@_json
def backup_passphrase(folder: Path, passphrase_file: Path | None, new_passphrase_file: Path, as_json: bool) -> None:
    """Let another passphrase open the encrypted backups in FOLDER; none of them is written again."""
    from taihu.kernel.files import OsFiles
    from taihu.runtime.backup.repository import Repository

    old, new = read_passphrase(passphrase_file), read_passphrase(new_passphrase_file)
    repository = Repository(OsFiles(), folder, passphrase=old)
    with repository.held(alone=True):
        repository.change_passphrase(old, new)
    show_json({"changed": str(folder)}) if as_json else click.echo(f"Another passphrase opens {folder}.")


@click.command()
@click.argument("folder", type=_FOLDER)
@click.argument("site", type=_FOLDER)
@click.option("--backup", "name", default="", help="Which one; the newest when absent.")
@click.option(
    "--tombstones",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="What was deleted since: a site's folder, its data folder, or what taihu deletions --json says; repeatable.",
)
@_key
@_json
def restore(
    folder: Path, site: Path, name: str, tombstones: tuple[Path, ...], passphrase_file: Path | None, as_json: bool
) -> None:
    """Put a backup of FOLDER into the new or empty folder SITE, without what was deleted since it was made."""
    from taihu.kernel.files import OsFiles
    from taihu.runtime.backup import restoring
    from taihu.runtime.backup.repository import Repository

    files = OsFiles()
    with progress("Writing") as bar:
        repository = Repository(files, folder, passphrase=read_passphrase(passphrase_file))
        with repository.held(alone=False):
            later = [one for path in tombstones for one in restoring.deletions_of(path)]
            done = restoring.restore(files, repository, repository.manifest(name), site, later, bar)
    if as_json:
        show_json(done)
        return
    click.echo(
        f"Backup {done.name} is in {done.folder}: {done.files:,} files, {done.bytes:,} bytes, each compared with its "
        f"checksum; {done.deletions:,} later deletions count. Start it with: taihu run {site}"
    )
