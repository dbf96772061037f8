"""People who sign in at an OpenID provider: who they are here, by which roles, and for how long it says so."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.person import Origin, Person, Session, check_user
from taihu.identity.principal import Role
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import ConfigError, TaihuError, TransientError
from taihu.kernel.ids import NameRefused
from taihu.kernel.limits import Limits
from taihu.kernel.sections import OidcRole, Site
from taihu.runtime.admin.provider import Claims, Kept, Provider, ProviderRefused

log = logging.getLogger("taihu.oidc")

OIDC = "oidc"
_BY = "oidc"
_ORDER = (Role.VIEWER, Role.OPERATOR, Role.OWNER)
_kept = msgspec.json.Decoder(Kept)


class ProviderSignIn:
    """Opens sessions for those whom the site's provider vouches for, and closes them when it does so no more.

    Their roles are those of their claims, at every sign-in and check; what else somebody gave them is overwritten.
    """

    def __init__(self, site: Site, provider: Provider, directory: Directory, machine: Clock, limits: Limits) -> None:
        self._config = site.oidc
        self._back = f"{site.console.address}/"
        self._provider = provider
        self._directory = directory
        self._machine = machine
        self._limits = limits
        self._away = False

    @property
    def title(self) -> str:
        """What people know the provider as."""
        return self._provider.title

    async def begin(self) -> dict[str, Any]:
        """Where to send a browser, and the flow it has to bring back."""
        place, flow = await self._provider.start()
        return {"url": place, "flow": flow}

    async def finish(self, flow: str, state: str, code: str, issuer: str, origin: Origin) -> tuple[Session, str]:
        """A session for who comes back. Raises ProviderRefused and ProviderAway."""
        claims = await self._provider.finish(flow, state, code, issuer)
        return await asyncio.to_thread(self._opened, claims, origin)

    async def leave(self, number: str) -> str:
        """Where somebody signs out at the provider too, before their session ends; empty when nowhere."""
        stored = await asyncio.to_thread(self._directory.provider_of, number)
        if not stored:
            return ""
        try:
            return await self._provider.leave(_kept.decode(stored), self._back)
        except TransientError:
            return ""

    async def check(self) -> None:
        """Ask again for the sessions that were not asked for in `oidc_check_s`; end those the provider refuses."""
        for session in self._directory.sessions():
            person = self._directory.person(session.user)
            if session.how != OIDC or person is None:
                continue
            stored = await asyncio.to_thread(self._directory.provider_of, session.id)
            kept = _kept.decode(stored) if stored else Kept()
            waited_s = (self._machine.now_ns() - kept.checked_at) / NS_PER_S
            if not kept.refresh_token or waited_s < self._limits.oidc_check_s:
                continue
            try:
                claims = await self._provider.refresh(kept, person.subject)
                await asyncio.to_thread(self._renew, person, session, claims)
            except ProviderRefused as error:
                log.info("the session %s of %s ends: %s", session.id, session.user, error.message)
                await asyncio.to_thread(self._end, session)
            except (TransientError, ConfigError) as error:
                if not self._away:
                    log.warning("%s Sessions go on until it does.", error)
                self._away = True
                return
        self._away = False

    def _opened(self, claims: Claims, origin: Origin) -> tuple[Session, str]:
        person = self._person(claims)
        return self._directory.open_session(
            person.name,
            OIDC,
            address=origin.address,
            agent=origin.agent,
            provider=msgspec.json.encode(claims.kept),
            replaces=origin.secret,
        )

    def _person(self, claims: Claims) -> Person:
        """Who it is here, made at the first sign-in, with the roles of now. Raises ProviderRefused."""
        roles = self._roles(claims)
        title = claims.values.get(self._config.title_claim)
        title = title[:200] if isinstance(title, str) else ""
        known = self._directory.person_of(self._config.issuer, claims.subject)
        if known is not None and not known.disabled and roles:
            return self._changed(known, title, roles)
        if known is not None:
            self._changed(known, known.title, roles)
        if known is not None or not roles:
            raise ProviderRefused("You have no role here.", "Ask an owner of the node: [[oidc.role]] gives roles.")
        name = claims.values.get(self._config.name_claim)
        try:
            fresh = check_user(name.lower() if isinstance(name, str) else "")
            return self._directory.add_person(
                Person(name=fresh, title=title, roles=roles, issuer=self._config.issuer, subject=claims.subject), _BY
            )
        except NameRefused:
            remedy = "Set [oidc] name_claim to one that holds a plain name."
            raise ProviderRefused(f"The claim {self._config.name_claim} names nobody.", remedy) from None
        except TransientError:
            raise
        except TaihuError as error:
            raise ProviderRefused(error.message, "Ask an owner of the node to change that person.") from None

    def _changed(self, person: Person, title: str, roles: Mapping[str, Role]) -> Person:
        changed: dict[str, Role | None] = {**dict.fromkeys(person.roles), **roles}
        return self._directory.change_person(person.name, _BY, title=title, roles=changed)

    def _renew(self, person: Person, session: Session, claims: Claims) -> None:
        roles = self._roles(claims)
        self._changed(person, person.title, roles)
        if roles:
            self._directory.keep_provider(session.id, msgspec.json.encode(claims.kept))
        else:
            self._end(session)

    def _end(self, session: Session) -> None:
        if self._directory.session(session.id) is not None:
            self._directory.end_sessions(_BY, number=session.id)

    def _roles(self, claims: Claims) -> dict[str, Role]:
        return roles_of(claims.values, self._config.roles, [project.name for project in self._directory.projects()])


def provider_of(site: Site, directory: Directory, machine: Clock) -> ProviderSignIn | None:
    """The site's provider; None when it has none. Raises ConfigError when the client's secret cannot be read."""
    if not site.oidc.issuer:
        return None
    secret = ""
    if site.oidc.secret:
        try:
            secret = site.path(site.oidc.secret).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The secret of [oidc] cannot be read: {error}.", "Write it there.") from None
    provider = Provider(site.oidc, secret, f"{site.console.address}/oidc", machine, site.limits)
    return ProviderSignIn(site, provider, directory, machine, site.limits)


def roles_of(claims: Mapping[str, Any], rules: Iterable[OidcRole], projects: Iterable[str]) -> dict[str, Role]:
    """The roles that claims give, by project and by "" for the node; where several do, the highest.

    >>> rule = OidcRole(value="plant-*", project="house-*", role="operator")
    >>> roles_of({"groups": ["plant-staff"]}, [rule], ["house-01", "district"])
    {'house-01': <Role.OPERATOR: 'operator'>}
    """
    names = list(projects)
    found: dict[str, Role] = {}
    for rule in rules:
        values = claims.get(rule.claim)
        texts = values if isinstance(values, list) else [values]
        if not any(isinstance(text, str) and fnmatchcase(text, rule.value) for text in texts):
            continue
        wanted = Role(rule.role)
        for project in [""] if not rule.project else [name for name in names if fnmatchcase(name, rule.project)]:
            found[project] = max(found.get(project, wanted), wanted, key=_ORDER.index)
    return found
