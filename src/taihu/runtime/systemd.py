"""The systemd unit of a site: started when ready, watched, and shut in as far as a node can work (systemd.exec(5))."""

from pathlib import Path

from taihu.kernel.errors import RefusedError
from taihu.kernel.sections import Site
from taihu.kernel.site_checks import listeners_of
from taihu.runtime.process import files_needed

_PRIVILEGED_BELOW = 1024
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))
_NODE = """\
[Unit]
Description=Taihu: {title}
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=notify
ExecStart={executable} run {folder}
ExecReload={executable} reload --site {folder}
WatchdogSec=60
Restart=on-failure
RestartSec=2
TimeoutStartSec=120
TimeoutStopSec=60
LimitNOFILE={files}

# What it writes is its data; all else is for reading.
ReadWritePaths={data}
"""
_CONSOLE = """\
[Unit]
Description=Taihu's pages: {title}
Wants=taihu.service
After=taihu.service

[Service]
ExecStart={executable} console {folder}
Restart=on-failure
RestartSec=5

# It writes nothing.
"""
_CONFINED = """\
User={user}
UMask=0077
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged

[Install]
WantedBy=multi-user.target
"""


def unit_text(site: Site, executable: Path, user: str, *, console: bool = False) -> str:
    """The unit that runs `site` as `user` by the command `executable`; with `console` that of its pages.

    Raises:
        RefusedError: a path or name holds what a unit cannot say.
    """
    folder, data = site.folder, site.data.absolute()
    title = site.site.title or site.site.name
    for text in (str(folder), str(data), str(executable), user, title):
        if not text.isprintable() or any(character in text for character in "\"'\\%$"):
            raise RefusedError(f"{text!r} cannot stand in a unit.", "Use a name without quotes, backslash, % and $.")
    if not user or any(character.isspace() for character in f"{user}{folder}{data}{executable}"):
        raise RefusedError(f"{user!r}, {folder} and {executable} must be without spaces.", "Use other names.")
    ports = [site.console.port] if console else [port for _, _, port in listeners_of(site)]
    low = any(0 < port < _PRIVILEGED_BELOW for port in ports)
    at_home = any(path.is_relative_to(home) for path in (folder, data, executable) for home in _HOMES)
    return f"{_CONSOLE if console else _NODE}{_CONFINED}".format(
        title=title,
        executable=executable,
        folder=folder,
        data=data,
        user=user,
        files=files_needed(site.limits),
        home="read-only" if at_home else "yes",
        capabilities="CAP_NET_BIND_SERVICE" if low else "",
    )
