"""People sign in and out: passwords on threads, few at once; who fails often waits; nobody learns whom there is."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from taihu.identity.attempts import Attempts, address_key
from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.identity.person import Origin, Person, Session
from taihu.identity.principal import CredentialKind, Principal
from taihu.kernel.clock import Clock
from taihu.kernel.errors import LimitError, RefusedError, TransientError
from taihu.kernel.sections import Site
from taihu.runtime.admin.oidc import ProviderSignIn, provider_of
from taihu.runtime.admin.provider import ProviderRefused
from taihu.runtime.batches import Batches

T = TypeVar("T")


class SignInRefused(RefusedError):
    """Name or password is wrong, or this person may not sign in; the answer does not say which."""

    code = "sign-in"

    def __init__(self) -> None:
        super().__init__("Name or password is wrong.", "Try again, or ask an owner of the node for a link.")


class SignInLater(LimitError):
    """Too many tries failed: wait as long as it says."""

    code = "sign-in-later"

    def __init__(self, wait_s: float) -> None:
        super().__init__("Too many tries failed.", f"Try again in {wait_s:.0f} s.")
        self.retry_after_s = wait_s


class SignInBusy(TransientError):
    """As many sign in at once as may: try again in a moment."""

    code = "sign-in-busy"


class SignIn:
    """Opens sessions for people, and changes their passwords."""

    def __init__(self, site: Site, directory: Directory, machine: Clock, batches: Batches) -> None:
        limits = site.limits
        self._console = site.console.address
        self.provider = provider_of(site, directory, machine)
        self._directory = directory
        self._limits = limits
        self._batches = batches
        self._passwords = directory.passwords
        self._accounts = Attempts(machine, limits)
        self._addresses = Attempts(machine, limits)
        self._slots = asyncio.Semaphore(max(1, limits.password_checks_max))
        self._waiting = 0

    async def by_password(self, name: str, password: str, origin: Origin) -> tuple[Session, str]:
        """A session and its secret. Raises SignInRefused, SignInLater and SignInBusy."""
        account = self._begin(name, origin)
        stored, right = await self._checked(name, password)
        person = self._directory.person(name)
        if not right or person is None or person.disabled:
            self._failed(person, origin)
            raise SignInRefused
        try:
            found = await self._opened(name, "password", origin, stored)
        except Unknown:
            raise SignInRefused from None
        self._succeeded(account, origin)
        if self._passwords.outdated(stored):
            hashed = await self._thread(self._passwords.hash, name, password)
            await self._thread(self._directory.renew_password, name, hashed)
        return found

    async def by_code(self, code: str, password: str, origin: Origin) -> tuple[Session, str]:
        """Set a first or a new password with a one-time code, and sign in. Raises also PasswordRefused."""
        self._begin("", origin)
        principal = self._directory.principal(code)
        person = self._directory.person(principal.user) if principal else None
        if principal is None or principal.kind is not CredentialKind.INVITE or person is None or person.disabled:
            self._failed(None, origin)
            raise SignInRefused
        hashed = await self._thread(self._passwords.hash, person.name, password)
        try:
            await self._thread(self._directory.redeem, code, hashed)
            found = await self._opened(person.name, "link", origin, hashed)
        except Unknown:
            raise SignInRefused from None
        self._succeeded("", origin)
        return found

    async def change_password(self, principal: Principal, old: str, new: str, origin: Origin) -> None:
        """Change one's own password; every other session of the person ends. Raises as `by_password` and `by_code`."""
        name = principal.user
        if self._directory.session(principal.credential_id) is None:
            raise RefusedError("This takes a session, not a token.", "Sign in, and do it from there.")
        account = self._begin(name, origin)
        _, right = await self._checked(name, old)
        if not right:
            self._failed(self._directory.person(name), origin)
            raise SignInRefused
        hashed = await self._thread(self._passwords.hash, name, new)
        await self._thread(self._directory.set_password, name, hashed, name, principal.credential_id)
        self._succeeded(account, origin)

    async def begin(self) -> dict[str, Any]:
        """Begin to sign in at the OpenID provider: where to send a browser, and what it has to bring back."""
        return await self._provider().begin()

    async def by_provider(self, flow: str, state: str, code: str, issuer: str, origin: Origin) -> tuple[Session, str]:
        """A session for who comes back from the OpenID provider. Raises ProviderRefused and ProviderAway."""
        try:
            return await self._provider().finish(flow, state, code, issuer, origin)
        except ProviderRefused as error:
            self._batches.add(
                "", "sign-in failed", f"at the provider, from {origin.address or 'here'}: {error.message}"
            )
            raise

    async def sign_out(self, principal: Principal) -> str:
        """End the session that is asked with; returns where to sign out at the OpenID provider too, if anywhere."""
        place = await self.provider.leave(principal.credential_id) if self.provider else ""
        ending = self._directory.end_sessions
        await asyncio.to_thread(lambda: ending(principal.user, user=principal.user, number=principal.credential_id))
        return place

    def ways(self) -> dict[str, Any]:
        """How people can sign in here; whether there are any."""
        return {
            "people": bool(self._directory.people()),
            "password": True,
            "provider": self.provider.title if self.provider else None,
            "console": self._console,
        }

    def _provider(self) -> ProviderSignIn:
        if self.provider is None:
            raise RefusedError("This site has no OpenID provider.", "Sign in with a password.")
        return self.provider

    def _begin(self, name: str, origin: Origin) -> str:
        """Count a try; returns the account's key. Raises SignInLater before anything is looked at."""
        account, address = name[:64].casefold(), address_key(origin.address)
        wait_s = max(self._accounts.wait_s(account) if account else 0.0, self._addresses.wait_s(address))
        if wait_s > 0:
            raise SignInLater(max(1.0, wait_s))
        if account:
            self._accounts.begin(account)
        self._addresses.begin(address)
        return account

    def _succeeded(self, account: str, origin: Origin) -> None:
        self._accounts.succeeded(account)
        self._addresses.forgive(address_key(origin.address))  # one's own account is no way round for others'

    def _failed(self, person: Person | None, origin: Origin) -> None:
        """What was typed as a name may be a password: only the names of people are written down."""
        name = person.name if person else "a name that nobody has"
        self._batches.add(person.name if person else "", "sign-in failed", f"{name} from {origin.address or 'here'}")

    async def _checked(self, name: str, password: str) -> tuple[str, bool]:
        """The hash that was checked against, and whether the password is right."""

        def check() -> tuple[str, bool]:
            stored = self._directory.password_of(name)
            return stored, self._passwords.check(stored, password)

        return await self._thread(check)

    async def _opened(self, name: str, how: str, origin: Origin, password: str) -> tuple[Session, str]:
        def opened() -> tuple[Session, str]:
            return self._directory.open_session(
                name, how, address=origin.address, agent=origin.agent, password=password, replaces=origin.secret
            )

        return await asyncio.to_thread(opened)

    async def _thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Do expensive work on a thread, few at once (§6)."""
        if self._waiting >= self._limits.password_checks_waiting_max:
            raise SignInBusy("Too many sign in at once.", "Try again in a moment.")
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1
