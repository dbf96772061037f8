"""What the console asks of the node for the person in front of it: sign in and out, who they are, what is theirs.

A session's secret is the person's, kept in their cookie alone; the console's own token only says for which address it
asks.
"""

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import msgspec

from taihu.console.client import TIMEOUT_S, NodeAway, TokenRefused
from taihu.kernel.errors import RefusedError

_WAYS_S = 2.0


class Declined(RefusedError):
    """The node says no to what a person wants of their account; the sentence and the `problem` are the node's own."""

    code = "declined"

    def __init__(self, message: str, remedy: str, problem: str, wait_s: int) -> None:
        super().__init__(message, remedy)
        self.problem = problem
        self.wait_s = wait_s


class Ways(msgspec.Struct, frozen=True):
    """How people can sign in: whether there are any, and the name of the provider where there is one."""

    people: bool
    provider: str | None = None

    @property
    def open(self) -> bool:
        """Whether nobody can sign in yet."""
        return not self.people and self.provider is None


class SignedIn(msgspec.Struct, frozen=True):
    """A session that begins."""

    user: str
    secret: str
    expires_at: int


class Who(msgspec.Struct, frozen=True):
    """The person of a session."""

    user: str
    title: str = ""
    owner: bool = False
    roles: dict[str, str] = {}
    session: dict[str, Any] = {}
    csrf: str = ""

    @property
    def name(self) -> str:
        """What to call them."""
        return self.title or self.user

    @property
    def owns(self) -> bool:
        """Whether they own the node or a project."""
        return self.owner or "owner" in self.roles.values()


class Origin(msgspec.Struct, frozen=True):
    """Where a person asks from, and the secret of the session they have there."""

    address: str
    agent: str
    secret: str = ""


class Accounts:
    """Asks one node. Raises NodeAway when it gives no usable answer, TokenRefused when a session is over, Declined."""

    def __init__(self, url: str, relay: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._relay = relay
        self._http = httpx.AsyncClient(
            base_url=f"{url}/api/v1",
            timeout=TIMEOUT_S,
            verify=url.startswith("https:"),
            trust_env=False,
            transport=transport,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # a session is one person's, this client all's
        )
        self._ways: Ways | None = None
        self._ways_until = 0.0

    async def ways(self, now: float) -> Ways:
        """How people can sign in, asked again after 2 s; `now` is monotonic seconds."""
        if self._ways is None or now >= self._ways_until:
            self._ways = msgspec.convert(await self._ask("GET", "/sign-in", ""), Ways)
            self._ways_until = now + _WAYS_S
        return self._ways

    async def by_password(self, name: str, password: str, origin: Origin) -> SignedIn:
        """Sign somebody in."""
        return await self._sign_in("/session", origin, name=name, password=password)

    async def by_code(self, code: str, password: str, origin: Origin) -> SignedIn:
        """Set a password with a one-time code, and sign in."""
        return await self._sign_in("/session", origin, code=code, password=password)

    async def begin(self) -> tuple[str, str]:
        """Where to send a browser to sign in at the provider, and the flow it has to bring back."""
        found = await self._ask("POST", "/oidc", self._relay, {})
        return str(found["url"]), str(found["flow"])

    async def by_provider(self, flow: str, answer: dict[str, str], origin: Origin) -> SignedIn:
        """Sign in who comes back from the provider."""
        return await self._sign_in("/oidc/answer", origin, flow=flow, **answer)

    async def who(self, secret: str) -> Who:
        """The person of a session."""
        return msgspec.convert(await self._ask("GET", "/session", secret), Who)

    async def sign_out(self, secret: str) -> str:
        """End a session; returns where to sign out at the provider too, if anywhere."""
        return str((await self._ask("DELETE", "/session", secret)).get("provider") or "")

    async def change_password(self, secret: str, old: str, new: str) -> None:
        """Change a password; every other session ends."""
        await self._ask("PUT", "/session/password", secret, {"old": old, "new": new})

    async def sessions(self, secret: str) -> list[dict[str, Any]]:
        """The sessions of a person."""
        found: list[dict[str, Any]] = (await self._ask("GET", "/sessions", secret))["sessions"]
        return found

    async def end_session(self, secret: str, number: str) -> None:
        """End another session of the person's."""
        await self._ask("DELETE", f"/sessions/{_part(number)}", secret)

    async def tokens(self, secret: str) -> list[dict[str, Any]]:
        """The tokens of a person that are live."""
        found = (await self._ask("GET", "/tokens", secret))["tokens"]
        return [token for token in found if not token["revoked_at"]]

    async def make_token(self, secret: str, **terms: Any) -> str:
        """Make a token of the person's; it is told this once."""
        return str((await self._ask("POST", "/tokens", secret, terms))["token"])

    async def drop_token(self, secret: str, number: str) -> None:
        """Revoke a token of the person's."""
        await self._ask("DELETE", f"/tokens/{_part(number)}", secret)

    async def projects(self, secret: str) -> list[dict[str, Any]]:
        """The projects that a person may read, but not those of others that are granted to theirs."""
        found = (await self._ask("GET", "/projects", secret))["projects"]
        return [one for one in found if not one.get("granted")]

    async def act(self, secret: str, action: str, **arguments: Any) -> dict[str, Any]:
        """Administer, as far as the person may: see docs/http.md on `/admin`."""
        return await self._ask("POST", f"/admin/{action}", secret, arguments)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _sign_in(self, path: str, origin: Origin, **body: str) -> SignedIn:
        body |= {"address": origin.address, "agent": origin.agent, "replaces": origin.secret}
        return msgspec.convert(await self._ask("POST", path, self._relay, body), SignedIn)

    async def _ask(self, method: str, path: str, token: str, body: Any = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._http.request(method, path, content=content, headers=headers)
            found = msgspec.json.decode(answer.content, type=dict[str, Any])
        except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NodeAway(f"The node does not answer: {type(error).__name__}.", "Try again.") from None
        if answer.status_code < 300:
            return found
        problem = str(found.get("type", "")).rpartition(":")[2]
        if answer.status_code == 401 and problem == "unauthorized":
            raise TokenRefused("The session is over.", "Sign in again.")
        if answer.status_code >= 500 and problem != "sign-in-busy":
            raise NodeAway(str(found.get("title", "The node cannot answer now.")), "Try again.")
        wait = answer.headers.get("retry-after", "0")
        wait_s = int(wait) if wait.isdigit() else 0
        raise Declined(str(found.get("title", "")), str(found.get("detail", "")), problem, wait_s)


def _part(text: str) -> str:
    """A part of a path that comes from a form: the ids it may be have none but these characters."""
    return text if text.isascii() and text.isalnum() else "-"
