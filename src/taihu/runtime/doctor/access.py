"""Who may reach what: the rights of files, the ports, the lock, and the certificates."""

import os
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from taihu.kernel.clock import DAY_NS, from_datetime, to_datetime
from taihu.kernel.errors import ConfigError
from taihu.kernel.site_checks import listeners_of
from taihu.runtime.admin.certification import believed, read_authorities
from taihu.runtime.doctor.case import Case, State, process_name
from taihu.runtime.doctor.finding import Finding, error, note, warning
from taihu.runtime.doctor.stores import newest_certificates
from taihu.runtime.node.tls import make_context
from taihu.runtime.run import listen_error
from taihu.runtime.supervise import port_holder

_SECRETS = ("admin.token", "console.token", "operator.token", "secrets.json", "metadata.db", "ca/ca.key")
_SOON_NS = 30 * DAY_NS


def rights(case: Case) -> Iterator[Finding]:
    """Secrets that others may read, and files that the node may not write."""
    data = case.site.data
    if not data.exists():
        return
    open_to = _others(data)
    if open_to:
        yield warning(
            "rights",
            f"{data} may be entered by {open_to}.",
            "It holds all readings and the tokens that open them; only the node's user needs it.",
            f"chmod 700 {data}",
        )
    for path in _secrets(case):
        if others := _others(path):
            yield error(
                "rights",
                f"{path} may be read by {others}.",
                "Whoever reads it can act as the node's owner, or as the node or its devices.",
                f"chmod 600 {path}; {_renewal(case, path)}",
            )
    yield from _foreign(data)


def ports(case: Case) -> Iterator[Finding]:
    """The ports of the site: free while the node stands, its own while it runs."""
    if case.state in (State.RUNNING, State.SILENT):
        return
    for name, host, port in listeners_of(case.site):
        problem = listen_error(host, port) if port else None
        if problem is None:
            continue
        holder = port_holder(port)
        yield error(
            "ports",
            f"Nothing can listen on {host}, port {port} ({name}): {problem.strerror}; {holder} has it."
            if holder != "another process"
            else f"Nothing can listen on {host}, port {port} ({name}): {problem.strerror}.",
            "The node does not start.",
            f"Stop that process (ss -ltnp 'sport = :{port}'), or set another {name} in site.toml.",
        )


def lock(case: Case) -> Iterator[Finding]:
    """What a node that died left behind, and a process that holds the site and does not answer."""
    if case.state is State.CRASHED:
        pid = case.addresses.pid if case.addresses else 0
        yield note(
            "lock",
            f"The node (pid {pid}) ended without an orderly stop; its note {case.paths.node} is still there.",
            "It goes on from its journal; nothing that was acknowledged is lost. Why it ended is in its log.",
            f"taihu run {case.site.folder}",
        )
    elif case.state is State.SILENT and case.holder is not None:
        yield error(
            "lock",
            f"{process_name(case.holder)} holds the site's store, and no node answers.",
            "A second node cannot start beside it, and devices are not served. A node that has just started answers "
            "when it has read its journal.",
            f"Wait a minute and look again; then: kill {case.holder}",
        )


def certificates(case: Case) -> Iterator[Finding]:
    """Certificates that have expired, or soon will."""
    now = case.clock.now_ns()
    found = _certificates(case)
    if found and find_spec("cryptography") is None:
        why = "When they end is not looked at."
        yield note("certificates", "Certificates cannot be read here.", why, "pip install 'taihu[certificates]'")
        return
    yield from _tls(case)
    for path, what in found.items():
        from cryptography import x509

        try:
            chain = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as problem:
            yield error("certificates", f"{path} cannot be read: {problem}.", "TLS does not start.", f"Mend {what}.")
            continue
        ends = min(from_datetime(one.not_valid_after_utc) for one in chain)
        begins = max(from_datetime(one.not_valid_before_utc) for one in chain)
        if begins > now:
            yield error(
                "certificates",
                f"{path} ({what}) is valid only from {to_datetime(begins):%Y-%m-%d %H:%M} on.",
                "Clients that check it do not connect.",
                "Look at the machine's clock: timedatectl",
            )
        if ends > now + _SOON_NS:
            continue
        when = f"{to_datetime(ends):%Y-%m-%d %H:%M} UTC"
        why = "Clients that check it do not connect any more."
        remedy = f"Put a new one there and tell the node: taihu reload --site {case.site.folder}"
        if ends <= now:
            yield error("certificates", f"{path} ({what}) expired on {when}.", why, remedy)
        else:
            yield warning("certificates", f"{path} ({what}) expires on {when}.", why, remedy)
    yield from _of_things(case, now)


def _of_things(case: Case, now: int) -> Iterator[Finding]:
    """Things whose newest certificate ends soon: they did not renew it."""
    ends = {thing: at for thing, at in newest_certificates(case.paths.metadata) if at <= now + _SOON_NS}
    if ends:
        first = min(ends, key=lambda thing: ends[thing])
        yield warning(
            "certificates",
            f"The newest certificates of {len(ends):,} things end within 30 days or have ended, that of {first} on "
            f"{to_datetime(ends[first]):%Y-%m-%d}.",
            "A thing without a valid certificate does not come in.",
            "On the device: taihu ca renew; one that has ended: taihu ca enroll. All: taihu ca list",
        )


def _tls(case: Case) -> Iterator[Finding]:
    """Files of TLS that do not belong together."""
    sections = {name.partition(".")[0] for name, _, _ in listeners_of(case.site) if name.endswith("tls_port")}
    try:
        own, trust = read_authorities(case.site)
    except ConfigError as problem:
        yield error("certificates", problem.message, "No thing can come in by a certificate.", problem.remedy)
        return
    if trust is not None and trust.stale_at is not None and trust.stale_at <= case.clock.now_ns():
        yield warning(
            "certificates",
            f"{case.site.path(case.site.ca.revoked)} ([ca] revoked) is out of date.",
            "A certificate that its authority took back since then still opens the door.",
            f"Fetch the newest list, and tell the node: taihu reload --site {case.site.folder}",
        )
    for section in sorted(sections):
        try:
            make_context(case.site, section, believed(own, trust))
        except ConfigError as problem:
            why = "The node does not start, and does not reload."
            yield error("certificates", problem.message, why, problem.remedy)


def _renewal(case: Case, path: Path) -> str:
    """How what others may have read is made useless to them."""
    if path in (case.paths.admin_token, case.paths.console_token):
        return f"then, for it may have been read: stop the node, rm {path}, and start it: it makes another."
    return "then make a new one, for it may have been read."


def _secrets(case: Case) -> Iterator[Path]:
    keys = (case.site.mqtt.key, case.site.http.key, case.site.ca.passphrase_file)
    named = dict.fromkeys(case.site.path(key) for key in keys if key)
    found = [*(case.site.data / name for name in _SECRETS), *named]
    yield from (path for path in found if path.is_file())


def _certificates(case: Case) -> dict[Path, str]:
    """The files of certificates and the settings that name them."""
    found: dict[Path, str] = {}
    for section, listener in (("mqtt", case.site.mqtt), ("http", case.site.http)):
        if listener.certificate:
            found.setdefault(case.site.path(listener.certificate), f"[{section}] certificate")
    if (case.paths.ca / "ca.crt").exists():
        found[case.paths.ca / "ca.crt"] = "the site's own authority"
    if case.site.ca.trusted:
        found[case.site.path(case.site.ca.trusted)] = "[ca] trusted"
    return found


def _others(path: Path) -> str:
    """Who beside its owner may read a file, or enter a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return "everybody" if mode & stat.S_IRWXO else "its group" if mode & stat.S_IRWXG else ""


def _foreign(data: Path) -> Iterator[Finding]:
    """Files below `data` that do not belong to the folder's owner, as after one start as root."""
    owner = data.stat().st_uid
    count, first = 0, ""
    for folder, _, names in os.walk(data):
        for name in names:
            path = Path(folder, name)
            try:
                foreign = path.lstat().st_uid != owner
            except OSError:
                continue
            count, first = count + foreign, first or (str(path) if foreign else "")
    if count:
        yield error(
            "rights",
            f"{count:,} files do not belong to the owner of {data}, such as {first}.",
            "The node's user cannot write them: it stops, or stands with a full journal.",
            f"chown -R --reference={data} {data}",
        )
