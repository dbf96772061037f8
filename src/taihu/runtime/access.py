"""Who may do what on the MQTT endpoint, and which topics carry readings: the broker's policy, from memory."""

from collections.abc import Callable, Sequence

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Principal
from taihu.kernel.clock import Clock
from taihu.kernel.config import ProjectConfig, Site
from taihu.kernel.errors import TaihuError
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Connect
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import filter_covers
from taihu.runtime.intake import Claim
from taihu.runtime.thingsboard import PRIVATE, PROVISION_SPACE, ThingsBoardApi
from taihu.things.mapping.matcher import Match, Matcher
from taihu.things.mapping.rules import Format, Mapping, builtin_mappings, load_mappings
from taihu.things.mapping.thingsboard import PROVISION_REQUEST, PROVISION_RESPONSE, PROVISION_USER
from taihu.twin.twin import Twin

GATEWAY = "gateway"


class Identity(msgspec.Struct, frozen=True):
    """A connected client: `space` is its project, `key` names its credential in logs and revocations."""

    space: str
    key: str
    kind: CredentialKind
    thing: str = ""
    gateway: bool = False


class Access:
    """The broker's `Policy`. Every answer is a look-up."""

    def __init__(self, site: Site, directory: Directory, twin: Twin, clock: Clock, limits: Limits) -> None:
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._thingsboard = ThingsBoardApi(directory, twin, clock, limits)
        self._anonymous = site.mqtt.anonymous
        self._configs = {config.name: config for config in site.projects}
        self._files = {name: _read(site, config) for name, config in self._configs.items()}
        self._matchers: dict[str, Matcher] = {}
        self.on_connected: Callable[[str, str, int], None] = lambda project, thing, change: None
        self.on_refused: Callable[[str, str, str], None] = lambda project, thing, reason: None

    def authenticate(self, connect: Connect, peer: str, certificate_name: str | None) -> Identity | int:
        """A token as user name, or as password beside any user name; without either, the anonymous project if any."""
        if connect.username is None and connect.password is None and self._anonymous:
            return Identity(self._anonymous, "anonymous", CredentialKind.OPERATOR)
        if connect.username == PROVISION_USER and not connect.password:
            return Identity(PROVISION_SPACE, PROVISION_USER, CredentialKind.JOIN)
        principal = None
        if connect.username:
            principal = self._directory.principal(connect.username)
        if principal is None and connect.password:
            principal = self._directory.principal(connect.password.decode("utf-8", "replace"))
        if principal is None:
            return Reason.BAD_USER_NAME_OR_PASSWORD
        if principal.kind is CredentialKind.JOIN:
            return self._join(connect, principal)
        if principal.kind is CredentialKind.ADMIN:
            return Reason.NOT_AUTHORIZED
        return self._identity(principal, principal.thing)

    def connected(self, identity: Identity, up: bool) -> None:
        """Tell the twin which things have a connection."""
        if identity.thing:
            self.on_connected(identity.space, identity.thing, 1 if up else -1)

    def may_publish(self, identity: Identity, topic: str, retain: bool) -> int:
        """Its own topics for a thing, all but `$` for an operator, nothing for a viewer."""
        if identity.space == PROVISION_SPACE:
            return Reason.SUCCESS if topic == PROVISION_REQUEST else Reason.NOT_AUTHORIZED
        if topic.startswith("$") or identity.kind is CredentialKind.VIEWER:
            return Reason.NOT_AUTHORIZED
        if identity.kind is CredentialKind.OPERATOR or self._own(identity, topic) or self._free(identity, topic):
            return Reason.SUCCESS
        self.on_refused(identity.space, identity.thing, f"may not publish on {topic[:200]}")
        return Reason.NOT_AUTHORIZED

    def may_subscribe(self, identity: Identity, topic_filter: str) -> int:
        """What a thing may read is its own topics and the free ones; a project may deny filters to all."""
        if identity.space == PROVISION_SPACE:
            return Reason.SUCCESS if topic_filter == PROVISION_RESPONSE else Reason.NOT_AUTHORIZED
        config = self._configs.get(identity.space)
        if config and any(filter_covers(denied, topic_filter) for denied in config.deny_subscribe):
            return Reason.UNSPECIFIED_ERROR
        if identity.kind in (CredentialKind.OPERATOR, CredentialKind.VIEWER):
            return Reason.SUCCESS
        if self._own(identity, topic_filter) or self._free(identity, topic_filter):
            return Reason.SUCCESS
        self.on_refused(identity.space, identity.thing, f"may not subscribe to {topic_filter[:200]}")
        return Reason.NOT_AUTHORIZED

    def claim(self, identity: Identity, topic: str) -> Claim | None:
        """What carries readings, by the project's mappings."""
        match = self.matcher(identity.space).match(topic) if identity.space != PROVISION_SPACE else None
        if match is None:
            return None
        if match.thing is None and not identity.thing and not topic.startswith(("v1/gateway/", "senml/")):
            return None
        return self.claim_of(identity.space, match, match.thing or identity.thing or None, self._creates(identity))

    def answer(self, identity: Identity, topic: str, payload: bytes) -> Sequence[tuple[str, bytes]] | None:
        """What is answered on topics that mean something else for each client; None for a topic that is routed."""
        if not topic.startswith(PRIVATE):
            return None
        if not identity.thing and identity.space != PROVISION_SPACE:
            return None
        try:
            return self._thingsboard.answer(identity.space, identity.thing, identity.gateway, topic, payload)
        except TaihuError as error:
            self.on_refused(identity.space, identity.thing, str(error))
            return ()

    def claim_of(self, project: str, match: Match, thing: str | None, may_create: bool) -> Claim:
        """A claim for a match."""
        gateway = match.mapping.format is Format.THINGSBOARD_GATEWAY
        return Claim(project, None if gateway else thing, match.decoder, match.mapping, may_create)

    def matcher(self, project: str) -> Matcher:
        """The mappings of a project: its own before the built-in ones."""
        matcher = self._matchers.get(project)
        if matcher is None:
            own = self._files.get(project, ())
            matcher = self._matchers[project] = Matcher((*own, *builtin_mappings()), project, self._limits)
        return matcher

    def _identity(self, principal: Principal, thing: str) -> Identity:
        known = self._directory.thing(principal.project, thing) if thing else None
        gateway = known is not None and known.role == GATEWAY
        kind = CredentialKind.THING if thing else principal.kind
        return Identity(principal.project, principal.credential_id, kind, thing, gateway)

    def _join(self, connect: Connect, principal: Principal) -> Identity | int:
        token = connect.username or (connect.password or b"").decode("utf-8", "replace")
        try:
            joined = self._directory.join(token, connect.client_id, self._clock.now_ns())
        except TaihuError as error:
            self.on_refused(principal.project, connect.client_id[:128], str(error))
            return Reason.NOT_AUTHORIZED
        return self._identity(principal, joined.thing.name)

    def _creates(self, identity: Identity) -> bool:
        return identity.gateway or identity.kind is CredentialKind.OPERATOR

    def _own(self, identity: Identity, topic: str) -> bool:
        """Whether a topic or filter lies wholly among those of the client's own thing."""
        if topic.startswith("v1/devices/me/"):
            return True
        if topic.startswith("v1/gateway/"):
            return identity.gateway
        for root in ("taihu", "senml"):
            own = f"{root}/{identity.space}/{identity.thing}"
            if topic == own or topic.startswith(own + "/"):
                return True
        if identity.gateway and topic.startswith((f"taihu/{identity.space}/", f"senml/{identity.space}")):
            return True
        match = self.matcher(identity.space).match(topic)
        return match is not None and match.thing in (None, identity.thing)

    def _free(self, identity: Identity, topic: str) -> bool:
        config = self._configs.get(identity.space)
        return config is not None and any(filter_covers(free, topic) for free in config.free_topics)


def _read(site: Site, config: ProjectConfig) -> tuple[Mapping, ...]:
    return tuple(
        mapping for name in config.mappings for mapping in load_mappings(site.path(name).read_text("utf-8"), name)
    )
