"""What lint says of a network is what the policy engine does to its packets, on random networks."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.lint.registry import chosen, lint
from harness.model import Cause, Flow, Protocol
from harness.network.model import NextHopType, key
from harness.policy.compiled import Compiled
from harness.policy.decision import Explanation, PolicyVerdict
from harness.policy.explain import explain
from tests.harness.policy.anything import any_network

OUTSIDE = ("8.8.8.8", "203.0.113.77")
FAULTS = {
    Cause.APPLIANCE_UNREACHABLE: "route/appliance-missing",
    Cause.APPLIANCE_NOT_FORWARDING: "route/appliance-not-forwarding",
}


def explained(view: Compiled, sources: list[str], targets: tuple[str, ...]) -> Iterator[Explanation]:
    """Flows that can be told; a network may name tags and virtual networks that nothing defines."""
    for source in sources:
        for target in targets:
            for protocol in (Protocol.TCP, Protocol.UDP):
                try:
                    yield explain(view, Flow(source, target, protocol, 443))
                except InputError:
                    continue


@given(st.integers(0, 2**32))
@settings(max_examples=60)
def test_who_has_no_outbound_method_gets_nothing_out(seed: int) -> None:
    view = Compiled(any_network(Random(seed), edges=True))
    without = {name for item in lint(view, chosen(["outbound/no-method"])) for name in item.related}
    own = [
        configuration.id
        for name in sorted(without)
        for configuration in view.network.nics[key(name)].ip_configurations
        if configuration.address.version == 4
    ]
    for found in explained(view, own, OUTSIDE):
        if found.route is not None and found.route.next_hop_type is NextHopType.INTERNET:
            assert found.verdict is PolicyVerdict.DENY


@given(st.integers(0, 2**32))
@settings(max_examples=60)
def test_appliances_that_stop_packets_are_found(seed: int) -> None:
    view = Compiled(any_network(Random(seed), edges=True))
    found = {(item.check, item.object_id) for item in lint(view, chosen(FAULTS.values()))}
    addresses = [str(c.address) for nic in view.network.nics.values() for c in nic.ip_configurations]
    ids = [c.id for nic in view.network.nics.values() for c in nic.ip_configurations]
    for explanation in explained(view, ids, (*OUTSIDE, *addresses)):
        deciding = explanation.deciding
        # a loop is where a packet comes back to, not what is at the next hop
        loop = deciding is not None and "routing loop" in deciding.why
        if explanation.cause in FAULTS and deciding is not None and deciding.route is not None and not loop:
            assert (FAULTS[explanation.cause], deciding.route.id) in found
