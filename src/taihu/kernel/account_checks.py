"""What must hold of `[[project.account]]`, and of the intensities that controllers go by, beyond their types."""

from collections.abc import Iterator

from taihu.kernel.flexible import SchedulerConfig
from taihu.kernel.sections import AccountConfig, ControllerConfig, ProjectConfig
from taihu.kernel.toml import Fault

_NEVER = "An average intensity and a marginal one never stand for each other (§8)."
_OF_AVOIDED = {"name", "avoided", "marginal", "mix", "region", "since", "until"}
_NOTHING = AccountConfig()


def account_faults(path: str, project: ProjectConfig) -> Iterator[Fault]:
    """Every fault of a project's accounts that their types do not show; `path` is the project's."""
    controllers = {one.name for one in project.controllers} | {one.name for one in project.schedulers}
    accounts = {one.key: one for one in project.accounts}
    for index, account in enumerate(project.accounts):
        place = f"{path}.account[{index}]"
        before = [one for one in project.accounts[:index] if one.key == account.key]
        yield from _check_account(place, account, before)
        if account.avoided:
            yield from _check_avoided(place, account, controllers)
        else:
            yield from _check_metered(place, account)
        yield from _check_behind(place, account, accounts)


def signal_faults(path: str, config: ControllerConfig | SchedulerConfig) -> Iterator[Fault]:
    """Every fault of the intensity that a controller or scheduler goes by."""
    if config.marginal and config.marginal == config.intensity:
        yield Fault(f"{path}.marginal", _NEVER, "Name the property that gives the marginal one.")
    if config.carbon_signal == "marginal" and not config.marginal:
        yield Fault(f"{path}.carbon_signal", "No marginal intensity is named.", "Name marginal too.")


def _check_account(path: str, account: AccountConfig, before: list[AccountConfig]) -> Iterator[Fault]:
    if any(_overlap(account, one) for one in before):
        remedy = "Give each account of a meter its own name, or end one where the next begins: until and since."
        yield Fault(f"{path}.meter", f"{account.key} is accounted twice.", remedy)
    if account.since and account.until and account.since >= account.until:
        yield Fault(f"{path}.until", f"{account.key} ends before it begins.", "Write a later moment.")
    if account.intensity and account.mix:
        yield Fault(f"{path}.mix", "The grid's intensity is named twice.", "Name intensity or mix.")
    for name, what, form in (
        ("intensity", "property", "thing/property"),
        ("mix", "thing", "thing"),
        ("marginal", "property", "thing/property"),
        ("carbon_free", "property", "thing/property"),
    ):
        value = getattr(account, name)
        if value and value.count("/") not in (form.count("/"), form.count("/") + 1):
            remedy = f'Write "{form}", or "project/{form}" for another project\'s.'
            yield Fault(f"{path}.{name}", f"{value!r} is no {what}.", remedy)


def _check_metered(path: str, account: AccountConfig) -> Iterator[Fault]:
    """What a meter counts, and what belongs to it."""
    if not account.meter:
        yield Fault(f"{path}.meter", "An account is of a meter.", "Name the thing that counts.")
    if account.marginal:
        yield Fault(f"{path}.marginal", _NEVER, "Name it in an account of what a controller avoided.")
    chosen = [account.net, account.imported, account.generation, account.storage]
    if sum(map(bool, chosen)) != 1:
        remedy = "Name one property as net, import, generation or storage."
        yield Fault(f"{path}.meter", f"The account of {account.key} names no energy, or several.", remedy)
    if account.exported and not account.imported:
        yield Fault(f"{path}.export", "An export goes with an import.", "Name the import too, or use net.")
    yield from _check_direct(path, account)
    if account.certificates and not account.generation:
        yield Fault(f"{path}.certificates", "Certificates are of generation.", "Leave it out.")


def _check_avoided(path: str, account: AccountConfig, controllers: set[str]) -> Iterator[Fault]:
    """What a controller avoided is by a marginal intensity, and no part of an inventory (§8)."""
    if account.avoided not in controllers and not account.until:
        yield Fault(f"{path}.avoided", f"There is no controller {account.avoided!r}.", "Name one of the project.")
    if account.intensity:
        yield Fault(f"{path}.intensity", _NEVER, "Name the grid's marginal intensity as marginal.")
    given = {name for name in AccountConfig.__struct_fields__ if getattr(account, name) != getattr(_NOTHING, name)}
    if odd := sorted(given - _OF_AVOIDED - {"intensity"}):
        yield Fault(f"{path}.{odd[0]}", "What a controller avoided has no meter of its own.", "Leave the rest out.")
    if account.marginal and account.mix:
        yield Fault(f"{path}.mix", "The grid's intensity is named twice.", "Name marginal or mix.")
    if not (account.marginal or account.mix or account.region):
        yield Fault(f"{path}.marginal", "No marginal intensity is named.", "Name marginal, mix or region.")


def _overlap(one: AccountConfig, other: AccountConfig) -> bool:
    """Whether two accounts hold at the same time."""
    first = not one.until or not other.since or one.until > other.since
    return first and (not other.until or not one.since or other.until > one.since)


def _check_direct(path: str, account: AccountConfig) -> Iterator[Fault]:
    """What is burnt, processed or leaks is of scope 1, and nothing else."""
    named = [name for name in ("fuel", "process", "leak") if getattr(account, name)]
    if account.heating and not account.fuel:
        yield Fault(f"{path}.heating", "A heating value is of a fuel.", "Name the fuel, or leave it out.")
    if not named:
        return
    if len(named) > 1:
        yield Fault(f"{path}.{named[1]}", f"It is a {' and a '.join(named)}.", "Give each an account of its own.")
    others = (account.exported, account.behind, account.intensity, account.mix, account.carbon_free, account.supplier)
    if not account.imported or any(others):
        yield Fault(f"{path}.{named[0]}", f"A {named[0]} has an import alone.", "Leave the rest out.")
    if account.upstream and not account.fuel:
        yield Fault(f"{path}.upstream", f"Upstream factors are of energy, not of a {named[0]}.", "Leave it out.")


def _check_behind(path: str, account: AccountConfig, accounts: dict[str, AccountConfig]) -> Iterator[Fault]:
    if account.behind in ("", "-"):
        return
    seen, at = [account.key], account.behind
    while at in accounts and at not in seen:
        if not accounts[at].draws:
            break
        seen.append(at)
        at = accounts[at].behind
    if at not in ("", "-"):
        remedy = "Name an account of the project that draws electricity, without a circle."
        yield Fault(f"{path}.behind", f"{account.key} cannot be behind {account.behind}.", remedy)
