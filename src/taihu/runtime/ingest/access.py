"""Who may do what on the MQTT endpoint, and which topics carry readings: the broker's policy, from memory."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

import msgspec

from taihu.control.wire import ANSWER, COMMAND, Operation, is_told, operation_of
from taihu.identity.directory import Directory
from taihu.identity.join import Joined
from taihu.identity.presented import FOREIGN
from taihu.identity.principal import CredentialKind, Principal, Reach, Scope, matches
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import LimitError, RefusedError, TaihuError, TransientError
from taihu.kernel.limits import Limits
from taihu.kernel.sections import ProjectConfig, Site
from taihu.protocols.mqtt.broker.ports import Answers, Later
from taihu.protocols.mqtt.broker.ports import Identity as BrokerIdentity
from taihu.protocols.mqtt.packets import Connect
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import filter_covers
from taihu.runtime.ingest.intake import Claim
from taihu.runtime.ingest.joining import Joining
from taihu.runtime.ingest.thingsboard import (
    CREDENTIALS_REQUEST,
    DEVICE,
    GATEWAYS,
    PRIVATE,
    PROVISION_SPACE,
    ThingsBoardApi,
    own_token,
)
from taihu.things.mapping.matcher import Match, Matcher
from taihu.things.mapping.rules import Format, Mapping, builtin_mappings, load_mappings
from taihu.things.mapping.thingsboard import (
    CLAIM,
    GATEWAY_CONNECT,
    GATEWAY_DISCONNECT,
    GATEWAY_RPC,
    PROVISION_REQUEST,
    PROVISION_RESPONSE,
    PROVISION_USER,
    RPC_REQUEST,
    RPC_RESPONSE,
    parse_claim,
    parse_gateway_connect,
)
from taihu.twin.twin import Twin

_COMES_IN = (CredentialKind.THING, CredentialKind.OPERATOR, CredentialKind.VIEWER)
GATEWAY = "gateway"
ANONYMOUS, GRANTED = "anonymous", "$granted"

_COMMANDS, _ANSWERS = f"/{COMMAND}", f"/{ANSWER}"
_CALLS = (f"{RPC_REQUEST}+", f"{RPC_REQUEST}#", GATEWAY_RPC, f"{GATEWAYS}#", f"{GATEWAYS}+")


class Identity(msgspec.Struct, frozen=True):
    """A connected client: `space` is its project, `key` names its credential in logs and revocations.

    `token` is what a thing got that connected with a join token; it is the secret it may ask for, and never shown.
    `expires_at` is when its credential ends (UTC ns), None for never; `reach` how far it goes, None for all of it.
    """

    space: str
    key: str
    kind: CredentialKind
    thing: str = ""
    gateway: bool = False
    token: str = ""
    expires_at: int | None = None
    reach: Reach | None = None

    @property
    def user(self) -> str:
        """The person who came with a token of their own; empty for all others."""
        return self.reach.user if self.reach is not None else ""

    def __repr__(self) -> str:
        return f"Identity(space={self.space!r}, key={self.key!r}, kind={self.kind!r}, thing={self.thing!r})"


class Access:
    """The broker's `Policy`. Every answer is a look-up."""

    def __init__(self, site: Site, directory: Directory, twin: Twin, clock: Clock, limits: Limits) -> None:
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self.joining = Joining(directory, clock, limits)
        self.joining.on_refused = lambda project, name, reason: self.on_refused(project, name, reason)
        self._thingsboard = ThingsBoardApi(self.joining.ask, twin, directory, limits)
        self.use(site, read_mappings(site))
        self._foreign: dict[str, str] = {}  # certificates of other authorities, by credential, while connected
        self._joined: Counter[tuple[str, str]] = Counter()
        self._newcomers = count()
        self.on_connected: Callable[[str, str, int], None] = lambda project, thing, change: None
        self.on_refused: Callable[[str, str, str], None] = lambda project, thing, reason: None
        self.full: Callable[[Identity, str], int] = lambda identity, topic: Reason.SUCCESS
        self.on_own_token: Callable[[str, str], None] = lambda project, thing: None
        self.on_answer: Callable[[str, str, str, bytes], bool] = lambda project, thing, topic, payload: False
        self.on_listening: Callable[[str, str, str], None] = lambda project, topic_filter, thing: None
        self.on_granted: Callable[[Identity, str], int] = lambda identity, topic_filter: Reason.NOT_AUTHORIZED
        self.on_filter: Callable[[str, str], None] = lambda project, topic_filter: None
        self.on_operation: Callable[[Operation, str, bytes], str] = lambda operation, who, payload: ""
        self.on_speaking: Callable[[str, str, str, bool], None] = lambda project, gateway, thing, up: None

    def use(self, site: Site, mappings: dict[str, tuple[Mapping, ...]]) -> None:
        """Go by the site's projects, and by their mapping files as `read_mappings` read them."""
        self._anonymous = site.mqtt.anonymous
        self._configs = {config.name: config for config in site.projects}
        self._files = mappings
        self._matchers: dict[str, Matcher] = {}

    def authenticate(
        self, connect: Connect, peer: str, certificate: str | None
    ) -> Identity | int | Later[BrokerIdentity | int]:
        """By a client's certificate, whatever else it sends; else by a token as user name, or as password beside one.

        Without any of these, the anonymous project if there is one.
        """
        if certificate is not None:
            return self._by_certificate(certificate)
        if connect.username is None and connect.password is None and self._anonymous:
            return Identity(self._anonymous, ANONYMOUS, CredentialKind.OPERATOR)
        if connect.username == PROVISION_USER and not connect.password:
            # A key of its own each time: what one newcomer's session holds is never another's.
            return Identity(PROVISION_SPACE, f"{PROVISION_USER}-{next(self._newcomers)}", CredentialKind.JOIN)
        principal = None
        if connect.username:
            principal = self._directory.principal(connect.username)
        if principal is None and connect.password:
            principal = self._directory.principal(connect.password.decode("utf-8", "replace"))
        if principal is None:
            return Reason.BAD_USER_NAME_OR_PASSWORD
        if principal.kind is CredentialKind.JOIN:
            return self._join(connect, principal)
        if principal.project:
            principal = self._directory.home_of(principal, principal.project)
        if principal.kind not in _COMES_IN:
            return Reason.NOT_AUTHORIZED
        if principal.thing:
            self.own_token_used(principal.project, principal.thing)
        return self._identity(principal, principal.thing)

    def _open_claim(self, identity: Identity, payload: bytes) -> None:
        """A device says that whoever knows its name and secret may claim it, for a time."""
        claim, config = parse_claim(payload), self._configs.get(identity.space)
        if config is None or not config.device_claims:
            raise RefusedError(f"No device of {identity.space} may be claimed.", "Set [[project]] device_claims.")
        if not claim.secret_key:
            raise RefusedError("A claim without a secret is open to everybody.", "Send a secretKey.")
        longest = self._limits.claim_window_max_s
        seconds = longest if claim.duration_ms is None else min(max(claim.duration_ms / 1000, 0.0), longest)
        until = self._clock.now_ns() + int(seconds * NS_PER_S)
        self._directory.open_claim(identity.space, identity.thing, claim.secret_key, until)

    def is_revoked(self, key: str) -> bool:
        """Whether this is a certificate of another authority that counts no more."""
        known = self._foreign.get(key)
        return known is not None and self._directory.principal(known) is None

    def _by_certificate(self, certificate: str) -> Identity | int:
        principal = self._directory.principal(certificate)
        if principal is None:
            return Reason.NOT_AUTHORIZED
        self.own_token_used(principal.project, principal.thing)
        if principal.credential_id.startswith(FOREIGN):
            self._foreign[principal.credential_id] = certificate
        return self._identity(principal, principal.thing)

    def own_token_used(self, project: str, thing: str) -> None:
        """The thing has come with its own token: whoever still speaks for it by a join token has to go."""
        if (project, thing) in self._joined:
            self.on_own_token(project, thing)

    def connected(self, identity: Identity, up: bool) -> None:
        """Tell the twin which things have a connection."""
        if not identity.thing:
            return
        self.on_connected(identity.space, identity.thing, 1 if up else -1)
        if not up:
            self._foreign.pop(identity.key, None)
        if identity.token:
            key = (identity.space, identity.thing)
            self._joined[key] += 1 if up else -1
            if not self._joined[key]:
                del self._joined[key]

    def may_publish(self, identity: Identity, topic: str, retain: bool) -> int:
        """What rights say, but no readings while the project stores all that it may."""
        return self._may_publish(identity, topic) or self.full(identity, topic)

    def _may_publish(self, identity: Identity, topic: str) -> int:
        """Its own topics for a thing, all but each thing's own and `$` for an operator, nothing for a viewer."""
        if identity.space == PROVISION_SPACE:
            return Reason.SUCCESS if topic == PROVISION_REQUEST else Reason.NOT_AUTHORIZED
        if topic.startswith("$") or topic.endswith(_COMMANDS) or identity.kind is CredentialKind.VIEWER:
            return Reason.NOT_AUTHORIZED
        if operation_of(topic) is not None or is_told(topic):
            return Reason.SUCCESS if self._operates(identity, topic) else Reason.NOT_AUTHORIZED
        if identity.reach is not None and not _reaches(identity, Scope.INGEST, topic):
            self.on_refused(identity.space, "", f"the token is not for publishing on {topic[:200]}")
            return Reason.NOT_AUTHORIZED
        if identity.kind is CredentialKind.OPERATOR:
            if not topic.startswith(DEVICE):
                return Reason.SUCCESS
            reason = f"an operator is no thing, and {topic[:200]} is each thing's own: send it with a thing's token"
            self.on_refused(identity.space, "", reason)
            return Reason.NOT_AUTHORIZED
        if self._may_write(identity, topic):
            return Reason.SUCCESS
        self.on_refused(identity.space, identity.thing, f"may not publish on {topic[:200]}")
        return Reason.NOT_AUTHORIZED

    def denied(self, space: str, topic: str) -> bool:
        """Whether the project denies a topic, or all of a filter, to every subscriber."""
        config = self._configs.get(space)
        return config is not None and any(filter_covers(each, topic) for each in config.deny_subscribe)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> int:
        """What a thing may read is its own topics and the free ones; a project may deny filters to all."""
        if identity.space == PROVISION_SPACE:
            return Reason.SUCCESS if topic_filter == PROVISION_RESPONSE else Reason.NOT_AUTHORIZED
        if self.denied(identity.space, topic_filter):
            return Reason.UNSPECIFIED_ERROR
        if topic_filter.startswith(f"{GRANTED}/"):
            return self.on_granted(identity, topic_filter)
        if identity.reach is not None and not _reaches(identity, Scope.READ, topic_filter):
            return Reason.NOT_AUTHORIZED
        reason = self._may_read(identity, topic_filter)
        if reason == Reason.SUCCESS:
            self.on_filter(identity.space, topic_filter)
        if reason == Reason.SUCCESS and topic_filter.endswith((_COMMANDS, *_CALLS)):
            if identity.kind is CredentialKind.VIEWER:
                return Reason.NOT_AUTHORIZED  # who listens there speaks for the thing
            self.on_listening(identity.space, topic_filter, identity.thing)
        return reason

    def _may_read(self, identity: Identity, topic_filter: str) -> int:
        if identity.kind in (CredentialKind.OPERATOR, CredentialKind.VIEWER):
            return Reason.SUCCESS
        match = self.matcher(identity.space).match(topic_filter)
        own = self._own(identity, topic_filter) or (match is not None and match.thing == identity.thing)
        if own or self._free(identity, topic_filter):
            return Reason.SUCCESS
        self.on_refused(identity.space, identity.thing, f"may not subscribe to {topic_filter[:200]}")
        return Reason.NOT_AUTHORIZED

    def claim(self, identity: Identity, topic: str) -> Claim | None:
        """What carries readings, by the project's mappings."""
        if identity.space == PROVISION_SPACE or topic.endswith((_COMMANDS, _ANSWERS)):
            return None
        match = self.matcher(identity.space).match(topic)
        if match is None:
            return None
        if match.thing is None and not identity.thing and not match.mapping.names_things():
            return None
        return self.claim_of(identity.space, match, match.thing or identity.thing or None, self._creates(identity))

    def answer(self, identity: Identity, topic: str, payload: bytes) -> Answers | Later[Answers] | None:
        """What is answered on topics that mean something else for each client; None for a topic that is routed."""
        if (operation := operation_of(topic)) is not None:
            if refused := self.on_operation(operation, identity.key, payload):
                self.on_refused(identity.space, operation.thing, refused)
            return ()
        gateways = identity.gateway and topic == GATEWAY_RPC
        if topic.endswith(_ANSWERS) or (topic.startswith(RPC_RESPONSE) and identity.thing) or gateways:
            return self._take_answer(identity, topic, payload)
        if not topic.startswith(PRIVATE):
            return None
        if not identity.thing and identity.space != PROVISION_SPACE:
            return () if topic.startswith(GATEWAYS) else None
        try:
            if topic == CLAIM and identity.thing:
                self._open_claim(identity, payload)
                return ()
            if topic.startswith(CREDENTIALS_REQUEST):
                return [own_token(identity.token, topic)]
            answers = self._thingsboard.answer(identity.space, identity.thing, identity.gateway, topic, payload)
            if identity.gateway and topic in (GATEWAY_CONNECT, GATEWAY_DISCONNECT):
                device = parse_gateway_connect(payload).device
                self.on_speaking(identity.space, identity.thing, device, topic == GATEWAY_CONNECT)
            return answers
        except TaihuError as error:
            self.on_refused(identity.space, identity.thing, str(error))
            return ()

    def _take_answer(self, identity: Identity, topic: str, payload: bytes) -> Sequence[tuple[str, bytes]]:
        """A thing, or what speaks for it, answers a command."""
        levels = topic.split("/")
        thing = levels[2] if topic.endswith(_ANSWERS) and len(levels) == 4 else identity.thing
        try:
            if payload:  # a will is asked about with none
                self.on_answer(identity.space, thing, topic, payload)
        except TaihuError as error:
            self.on_refused(identity.space, thing, str(error))
        return ()

    def claim_of(self, project: str, match: Match, thing: str | None, may_create: bool, unit_ns: int = 1) -> Claim:
        """A claim for a match; times of line protocol count `unit_ns`."""
        gateway = match.mapping.format is Format.THINGSBOARD_GATEWAY
        return Claim(project, None if gateway else thing, match.decoder(thing, unit_ns), match.mapping, may_create)

    def matcher(self, project: str) -> Matcher:
        """The mappings of a project: its own before the built-in ones."""
        matcher = self._matchers.get(project)
        if matcher is None:
            own = self._files.get(project, ())
            matcher = self._matchers[project] = Matcher((*own, *builtin_mappings()), project, self._limits)
        return matcher

    def _identity(self, principal: Principal, thing: str, token: str = "") -> Identity:
        known = self._directory.thing(principal.project, thing) if thing else None
        gateway = known is not None and known.role == GATEWAY
        kind = CredentialKind.THING if thing else principal.kind
        return Identity(
            principal.project,
            principal.credential_id,
            kind,
            thing,
            gateway,
            token,
            principal.expires_at,
            principal.reach,
        )

    def _join(self, connect: Connect, principal: Principal) -> int | Later[BrokerIdentity | int]:
        token = connect.username or (connect.password or b"").decode("utf-8", "replace")
        later = Later[BrokerIdentity | int]()
        try:
            self.joining.ask(token, connect.client_id, lambda answer: later.give(self._joined_as(principal, answer)))
        except LimitError:
            return Reason.SERVER_BUSY
        return later

    def _joined_as(self, principal: Principal, answer: Joined | TaihuError) -> Identity | int:
        if isinstance(answer, Joined):
            return self._identity(principal, answer.thing.name, answer.token)
        return Reason.SERVER_UNAVAILABLE if isinstance(answer, TransientError) else Reason.NOT_AUTHORIZED

    def _creates(self, identity: Identity) -> bool:
        return identity.gateway or identity.kind is CredentialKind.OPERATOR

    def _operates(self, identity: Identity, topic: str) -> bool:
        """Whether a client may give the command that a topic stands for: in its own project alone (§7, §11)."""
        operation = operation_of(topic)
        if operation is None or operation.project != identity.space or identity.key == ANONYMOUS:
            return False
        return identity.kind is CredentialKind.OPERATOR and _reaches(identity, Scope.COMMAND, topic)

    def _own(self, identity: Identity, topic: str) -> bool:
        """Whether a topic or filter lies wholly among those of the client's own thing."""
        if topic.startswith(DEVICE):
            return True
        if topic.startswith(GATEWAYS):
            return identity.gateway
        for root in ("taihu", "senml"):
            own = f"{root}/{identity.space}/{identity.thing}"
            if topic == own or topic.startswith(own + "/"):
                return True
        everybody = (f"taihu/{identity.space}/", f"senml/{identity.space}/")
        return identity.gateway and (topic.startswith(everybody) or topic == f"senml/{identity.space}")

    def _may_write(self, identity: Identity, topic: str) -> bool:
        """A topic that a mapping claims is never free: it is written by its own thing, or by a gateway."""
        own, match = self._own(identity, topic), self.matcher(identity.space).match(topic)
        if match is None:
            return own or self._free(identity, topic)
        if match.thing not in (None, identity.thing):
            return own and identity.gateway
        return own or identity.gateway or not match.mapping.names_things()

    def _free(self, identity: Identity, topic: str) -> bool:
        config = self._configs.get(identity.space)
        return config is not None and any(filter_covers(free, topic) for free in config.free_topics)


def _reaches(identity: Identity, scope: Scope, topic: str) -> bool:
    """Whether a limited token goes as far as a topic or filter: for some things, only to what names one of them."""
    reach = identity.reach
    if reach is None or scope not in reach.scopes:
        return reach is None
    if not reach.things:
        return True
    root, _, rest = topic.partition(f"/{identity.space}/")
    thing = rest.partition("/")[0]
    return root in ("taihu", "senml") and thing not in ("", "+", "#") and matches(thing, reach.things)


def read_mappings(site: Site) -> dict[str, tuple[Mapping, ...]]:
    """The mapping files of each project; blocks. Raises ConfigError."""
    return {config.name: _read(site, config) for config in site.projects}


def _read(site: Site, config: ProjectConfig) -> tuple[Mapping, ...]:
    return tuple(
        mapping for name in config.mappings for mapping in load_mappings(site.path(name).read_text("utf-8"), name)
    )
