"""Whatever is done in whatever order, certificates never stand for energy that was not there."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.carbon.certificates import (
    Cancel,
    CertificateRefused,
    Charge,
    Discharge,
    Event,
    Issue,
    Registry,
    Transfer,
)

HOURS = 3
DEVICES = ("pv-1", "pv-2")
OWNERS = ("ann", "bo")
PRODUCED = {(device, hour): 700 * (hour + 1) for device in DEVICES for hour in range(HOURS)}
CONSUMED = {(owner, hour): 900 for owner in OWNERS for hour in range(HOURS)}
BUNDLES = [f"b{number}" for number in range(6)]
EFFICIENCY = 900

amounts = st.integers(1, 1_500)
hours = st.integers(0, HOURS - 1)
owners = st.sampled_from(OWNERS)
bundles = st.sampled_from(BUNDLES)
issues = st.builds(
    lambda bundle, device, owner, hour, amount: Issue(
        bundle=bundle, device=device, owner=owner, start=hour, end=hour + 1, amount_wh=amount,
        produced_wh=PRODUCED[device, hour],
    ),
    bundles, st.sampled_from(DEVICES), owners, hours, amounts,
)  # fmt: skip
transfers = st.builds(
    lambda bundle, owner, to, amount: Transfer(bundle=bundle, owner=owner, to=to, amount_wh=amount),
    bundles, owners, owners, amounts,
)  # fmt: skip
charges = st.builds(
    lambda bundle, owner, amount, more: Charge(
        storage="cell", energy_wh=amount + more, efficiency_per_mille=EFFICIENCY, bundle=bundle, owner=owner,
        amount_wh=amount,
    ),
    bundles, owners, st.integers(0, 500), st.integers(0, 500),
)  # fmt: skip
discharges = st.builds(
    lambda bundle, owner, hour, amount: Discharge(
        bundle=bundle, storage="cell", owner=owner, start=hour, end=hour + 1, energy_wh=amount
    ),
    bundles, owners, hours, amounts,
)  # fmt: skip
cancels = st.tuples(bundles, owners, owners, amounts)


def try_all(wanted: list[Event | tuple[str, str, str, int]]) -> tuple[Registry, list[Event]]:
    registry, done = Registry(), []
    for one in wanted:
        if isinstance(one, tuple):
            bundle, owner, consumer, amount = one
            start = registry.bundles[bundle].start if bundle in registry.bundles else 0
            consumed = CONSUMED[consumer, start]
            event: Event = Cancel(bundle=bundle, owner=owner, consumer=consumer, amount_wh=amount, consumed_wh=consumed)
        else:
            event = one
        try:
            registry.apply(event)
        except CertificateRefused:
            continue
        done.append(event)
    return registry, done


@settings(max_examples=300)
@given(st.lists(st.one_of(issues, transfers, charges, discharges, cancels), max_size=40))
def test_invariants_hold_in_any_order(wanted: list[Event | tuple[str, str, str, int]]) -> None:
    registry, done = try_all(wanted)
    issued = sum(event.amount_wh for event in done if isinstance(event, Issue))
    cancelled = sum(event.amount_wh for event in done if isinstance(event, Cancel))
    stored = sum(event.amount_wh for event in done if isinstance(event, Charge))
    green_out = sum(one.issued_wh for one in registry.bundles.values() if one.source == "storage")
    held = sum(sum(registry.held(owner).values()) for owner in OWNERS)
    assert held + cancelled + stored == issued + green_out  # nothing is used twice, nothing is lost
    content = registry.storages.get("cell")
    left = content.green_wh if content else 0
    assert green_out + left <= stored * EFFICIENCY // 1_000  # no green energy out of losses
    for device, hour in PRODUCED:
        of_hour = sum(
            event.amount_wh
            for event in done
            if isinstance(event, Issue) and (event.device, event.start) == (device, hour)
        )
        assert of_hour <= PRODUCED[device, hour]
    for consumer, hour in CONSUMED:
        assert registry.cancelled(consumer, hour) <= CONSUMED[consumer, hour]
    for hour in range(HOURS):
        used = sum(registry.cancelled(consumer, hour) for consumer in OWNERS)
        assert used <= sum(one.issued_wh for one in registry.bundles.values() if one.start == hour)
    for name, one in registry.bundles.items():
        parts = [event.amount_wh for event in done if isinstance(event, Cancel | Charge) and event.bundle == name]
        assert sum(parts) <= one.issued_wh


@given(st.lists(st.one_of(issues, transfers, charges, discharges), max_size=20))
def test_a_registry_is_its_events(wanted: list[Event | tuple[str, str, str, int]]) -> None:
    registry, done = try_all(wanted)
    again = Registry(msgspec.json.decode(msgspec.json.encode(done), type=list[Event]))
    assert again.bundles == registry.bundles
    assert [again.held(owner) for owner in OWNERS] == [registry.held(owner) for owner in OWNERS]


def test_refusals_say_what_is_left() -> None:
    registry = Registry()
    issue = Issue(bundle="b", device="pv", owner="ann", start=0, end=1, amount_wh=600, produced_wh=1_000)
    registry.apply(issue)
    with pytest.raises(CertificateRefused, match="issued already"):
        registry.apply(issue)
    with pytest.raises(CertificateRefused, match="400 Wh are left"):
        registry.apply(msgspec.structs.replace(issue, bundle="c"))
    with pytest.raises(CertificateRefused, match="ann holds 600 Wh"):
        registry.apply(Transfer(bundle="b", owner="ann", to="bo", amount_wh=601))
    with pytest.raises(CertificateRefused, match="500 Wh then; 500 Wh of it are still"):
        registry.apply(Cancel(bundle="b", owner="ann", consumer="shop", amount_wh=600, consumed_wh=500))
    with pytest.raises(CertificateRefused, match="no bundle"):
        registry.apply(Transfer(bundle="x", owner="ann", to="bo", amount_wh=1))
    with pytest.raises(CertificateRefused, match="ends before"):
        registry.apply(msgspec.structs.replace(issue, bundle="d", end=0))
    for wrong in (0, -5):
        with pytest.raises(CertificateRefused, match="no amount"):
            registry.apply(Transfer(bundle="b", owner="ann", to="bo", amount_wh=wrong))
    assert registry.held("ann") == {"b": 600}
