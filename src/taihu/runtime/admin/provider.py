"""Signing in at an OpenID provider (OpenID Connect Core 1.0): authorization code with PKCE, state and nonce.

The provider's addresses and keys come by discovery; keys are fetched again when a token names one that is not known.
"""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from hmac import compare_digest
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import ConfigError, RefusedError, TransientError
from taihu.kernel.ids import new_token
from taihu.kernel.limits import Limits
from taihu.kernel.sections import OidcConfig

_TIMEOUT_S = 10.0
_ANSWER_BYTES_MAX = 1_048_576
_KEYS_AGAIN_S = 10.0
_LEEWAY_S = 60
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]


class ProviderAway(TransientError):
    """The OpenID provider does not answer, or not as one should: try again, or see its log."""

    code = "provider-away"


class ProviderRefused(RefusedError):
    """The OpenID provider's answer opens nothing here: the message says why."""

    code = "provider"


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept for a session, to ask the provider again and to sign out there; `checked_at` is UTC ns."""

    refresh_token: str = ""
    id_token: str = ""
    checked_at: int = 0


class Flow(NamedTuple):
    """A sign-in that somebody has begun: what its answer must prove."""

    state: str
    nonce: str
    verifier: str
    until: float


class Claims(NamedTuple):
    """Who signed in, as the provider says; and what is kept of it."""

    subject: str
    values: Mapping[str, Any]
    kept: Kept


class Provider:
    """One OpenID provider, asked by HTTP.

    Args:
        secret: the client's, empty for a public client.
        redirect: where the provider sends people back to.
        machine: the machine's clock: providers know no demo clock.
    """

    def __init__(self, config: OidcConfig, secret: str, redirect: str, machine: Clock, limits: Limits) -> None:
        self._config = config
        self._secret = secret
        self._redirect = redirect
        self._machine = machine
        self._limits = limits
        self._flows: dict[str, Flow] = {}
        self._about: dict[str, Any] = {}
        self._keys: Any = None
        self._keys_at = float("-inf")

    @property
    def title(self) -> str:
        """What people know it as."""
        return self._config.title or self._config.issuer.partition("://")[2].partition("/")[0]

    async def start(self) -> tuple[str, str]:
        """Where to send somebody's browser, and what it has to bring back beside the answer; raises ProviderAway."""
        from authlib.common.urls import add_params_to_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        about = await self._discovered()
        now = self._machine.monotonic()
        self._flows = {handle: flow for handle, flow in self._flows.items() if flow.until > now}
        while len(self._flows) >= max(1, self._limits.oidc_flows_max):
            del self._flows[next(iter(self._flows))]
        handle = new_token()
        flow = self._flows[handle] = Flow(new_token(), new_token(), new_token(), now + self._limits.oidc_flow_s)
        wanted = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": self._redirect,
            "scope": " ".join(self._config.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": create_s256_code_challenge(flow.verifier),
            "code_challenge_method": "S256",
        }
        return add_params_to_uri(about["authorization_endpoint"], wanted.items()), handle

    async def finish(self, handle: str, state: str, code: str, issuer: str = "") -> Claims:
        """Who has come back with `code`; each begun sign-in is good for one. Raises ProviderRefused, ProviderAway."""
        flow = self._flows.pop(handle, None)
        if flow is None or flow.until <= self._machine.monotonic():
            raise ProviderRefused("This sign-in was begun too long ago, or elsewhere.", "Begin again.")
        if not compare_digest(flow.state.encode(), state.encode()) or issuer not in ("", self._config.issuer):
            raise ProviderRefused("This answer belongs to another sign-in.", "Begin again.")
        answer = await self._token(
            grant_type="authorization_code", code=code, redirect_uri=self._redirect, code_verifier=flow.verifier
        )
        return await self._claims(answer, flow.nonce)

    async def refresh(self, kept: Kept, subject: str) -> Claims:
        """Ask again who somebody is. Raises ProviderRefused when they have been signed out there, ProviderAway."""
        answer = await self._token(grant_type="refresh_token", refresh_token=kept.refresh_token)
        answer.setdefault("refresh_token", kept.refresh_token)
        claims = await self._claims(answer, "", kept)
        if claims.subject != subject:
            raise ProviderRefused("The provider speaks of somebody else now.", "Sign in again.")
        return claims

    async def leave(self, kept: Kept, back: str) -> str:
        """Where to send a browser to sign out at the provider too; empty when it has no such place."""
        from authlib.common.urls import add_params_to_uri

        about = await self._discovered()
        wanted = {"client_id": self._config.client_id, "post_logout_redirect_uri": back, "id_token_hint": kept.id_token}
        place = about.get("end_session_endpoint", "")
        return add_params_to_uri(place, [pair for pair in wanted.items() if pair[1]]) if place else ""

    async def _token(self, **form: str) -> dict[str, Any]:
        about = await self._discovered()
        headers = {"Accept": "application/json"}
        form["client_id"] = self._config.client_id
        methods = about.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._secret and "client_secret_basic" in methods:
            pair = f"{quote(self._config.client_id, safe='')}:{quote(self._secret, safe='')}"  # RFC 6749, 2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        elif self._secret:
            form["client_secret"] = self._secret
        return await self._ask("POST", about["token_endpoint"], headers, form)

    async def _claims(self, answer: dict[str, Any], nonce: str, before: Kept | None = None) -> Claims:
        """What an answer of the token endpoint says of who signed in, checked (OpenID Connect Core 3.1.3.7)."""
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str) and before is None:
            raise ProviderRefused("The provider gave no ID token.", "Does [oidc] scopes have openid?")
        claims = await self._checked(token, nonce, str(access or "")) if isinstance(token, str) else {}
        wanted = {role.claim for role in self._config.roles} | {self._config.name_claim}
        place = (await self._discovered()).get("userinfo_endpoint")
        if place and isinstance(access, str) and not wanted <= claims.keys():
            more = await self._ask("GET", place, {"Authorization": f"Bearer {access}"})
            if claims and more.get("sub") != claims["sub"]:
                raise ProviderRefused("The provider contradicts itself on who this is.", "See its log.")
            claims = more | claims
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject:
            raise ProviderRefused("The provider does not say who this is.", "See its log.")
        refresh = answer.get("refresh_token")
        kept = Kept(
            refresh_token=refresh if isinstance(refresh, str) else "",
            id_token=token if isinstance(token, str) else before.id_token if before else "",
            checked_at=self._machine.now_ns(),
        )
        return Claims(subject, claims, kept)

    async def _checked(self, token: str, nonce: str, access: str) -> dict[str, Any]:
        """The claims of an ID token whose signature, issuer, audience, time and nonce are right."""
        import joserfc.errors
        import joserfc.jwt
        from authlib.oidc.core import CodeIDToken

        options: Any = {
            "iss": {"essential": True, "value": self._config.issuer},
            "aud": {"essential": True, "value": self._config.client_id},
        }
        params = {"nonce": nonce, "client_id": self._config.client_id, "access_token": access}
        for attempt in range(2):
            try:
                found = joserfc.jwt.decode(token, await self._known_keys(), algorithms=_ALGORITHMS)
                break
            except (joserfc.errors.JoseError, ValueError) as error:
                if attempt or not await self._fetch_keys():
                    raise ProviderRefused(f"The ID token is not the provider's: {type(error).__name__}.", "") from None
        claims = CodeIDToken(found.claims, found.header, options, params)
        try:
            claims.validate(self._machine.now_ns() // NS_PER_S, _LEEWAY_S)
        except joserfc.errors.JoseError as error:
            raise ProviderRefused(f"The ID token is not for this sign-in: {error}.", "Begin again.") from None
        return dict(claims)

    async def _known_keys(self) -> Any:
        if self._keys is None:
            await self._fetch_keys()
        return self._keys

    async def _fetch_keys(self) -> bool:
        """Fetch the keys, unless that was a moment ago; whether it did."""
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        now = self._machine.monotonic()
        if now - self._keys_at < _KEYS_AGAIN_S:
            return False
        self._keys_at = now
        found = await self._ask("GET", (await self._discovered())["jwks_uri"])
        try:
            self._keys = KeySet.import_key_set(found)  # type: ignore[arg-type]
        except (JoseError, KeyError, TypeError, ValueError):
            raise ProviderAway("The provider's keys cannot be read.", "See its log.") from None
        return True

    async def _discovered(self) -> dict[str, Any]:
        """The provider's addresses (OpenID Connect Discovery 1.0), which must be those of this issuer."""
        if not self._about:
            await asyncio.to_thread(tools)
            place = f"{self._config.issuer.rstrip('/')}/.well-known/openid-configuration"
            about = await self._ask("GET", place)
            if about.get("issuer") != self._config.issuer:
                raise ProviderAway(f"{place} is of another issuer.", "Correct [oidc] issuer.")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(about.get(name), str):
                    raise ProviderAway(f"{place} has no {name}.", "Is it an OpenID provider?")
            self._about = about
        return self._about

    async def _ask(
        self, method: str, place: str, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object that answers; what is said in it is never in a message, for it may be a secret."""
        import httpx

        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client,
                client.stream(method, place, headers=headers, data=form) as answer,
            ):
                content = b""
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > _ANSWER_BYTES_MAX:
                        raise ProviderAway("The provider's answer is too large.", "See its log.")
            found = msgspec.json.decode(content, type=dict[str, Any])
        except httpx.HTTPError as error:
            raise ProviderAway(f"The provider does not answer: {type(error).__name__}.", "Try again.") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ProviderAway("The provider's answer is not JSON.", "See its log.") from None
        if answer.status_code in (400, 401) and method == "POST":
            reason = str(found.get("error", "no reason"))[:60]
            raise ProviderRefused(f"The provider says no: {reason}.", "Sign in again.")
        if answer.status_code != 200:
            raise ProviderAway(f"The provider answered {answer.status_code}.", "See its log.")
        return found


def tools() -> None:
    """Load what signing in at a provider needs, once somebody does. Raises ConfigError when it is not installed."""
    try:
        for name in ("authlib.oidc.core", "httpx", "joserfc.jwt"):
            import_module(name)
    except ImportError:
        raise ConfigError("Signing in at a provider needs authlib.", "Run: pip install 'taihu[oidc]'") from None
