"""The policy engine in numbers: all pairs, one flow, many flows, loading; and whether they agree.

Whatever is timed is pinned to one core. All pairs and loading are measured in a fresh process each: first
call, nothing compiled before, and the peak of its memory counts loading, too. ``explain`` and bulk are asked
of a network that was compiled before, by asking it. The comparison of all pairs with ``explain`` counts and
times nothing, and uses all cores.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from harness.model import Flow, Protocol
from harness.network.model import Access, Direction, Network, SecurityRule, key
from harness.network.snapshot import load_snapshot
from harness.policy.bulk import NO_RULE, GroupTable
from harness.policy.compiled import Compiled
from harness.policy.decision import PolicyVerdict
from harness.policy.explain import explain
from harness.policy.packet import Packet
from harness.policy.reachability import Reachability, reachability
from tests.benchmarks.flows import FlowSampler, packets_for
from tests.benchmarks.measurement import Measurement, against, at_least, at_most
from tests.benchmarks.networks import large, medium, small, write_snapshot
from tests.benchmarks.peer_aclcheck import AclCheckPeer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = tuple[
        NDArray[np.uint32], NDArray[np.int32], NDArray[np.uint32], NDArray[np.int32], NDArray[np.uint8]
    ]

SAMPLED, CHUNK = 1_000_000, 10_000
"""Flows of which all pairs and ``explain`` must say the same, and how many a process takes at once."""
EXPLAINED = 20_000
BULK = 2_000_000
PEER_FLOWS = 1_000
ROUNDS = 5

Words = ParamSpec("Words")
Answer = TypeVar("Answer")
PLACES = {protocol: place for place, protocol in enumerate(Protocol)}


def run() -> dict[str, Measurement]:
    """The figures that the policy engine is to reach."""
    with tempfile.TemporaryDirectory(prefix="azreach-bench-") as directory:
        files = {}
        for vms, make in ((1_000, small), (3_200, medium), (10_000, large)):
            files[vms] = Path(directory) / f"{vms}-vms.json"
            write_snapshot(files[vms], make())
        found = list(_whole_networks(files))
        found += _agreement(files[1_000])
        with one_core():
            network = load_snapshot(files[1_000])
            one_flow = list(_one_flow(network))
            found += [*one_flow, _bulk(network), *_peer(network, explained=one_flow[0])]
    return {item.name: item for item in found}


@contextmanager
def one_core() -> Iterator[None]:
    """Pins this process, and what it starts, to one of the cores that it may use."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _timed(
    function: Callable[Words, Answer], *args: Words.args, **named: Words.kwargs
) -> tuple[float, Answer]:
    """Seconds, and what the function returned."""
    start = time.perf_counter()
    answer = function(*args, **named)
    return time.perf_counter() - start, answer


@dataclass(frozen=True, slots=True)
class Whole:
    """One network from its file to the answer for all pairs: seconds, and MiB at the peak."""

    load: float
    pairs: float
    peak: float
    classes: int


def _whole_networks(files: dict[int, Path]) -> Iterator[Measurement]:
    found = {vms: _median_of(path, ROUNDS if vms == 1_000 else 1) for vms, path in files.items()}
    for vms, item in found.items():
        yield Measurement(f"classes_of_{vms}_vms", item.classes)
    yield at_most("all_pairs_1000_vms", found[1_000].pairs, 1.0, "s")
    yield Measurement("all_pairs_3200_vms", found[3_200].pairs, "s")
    yield at_most("all_pairs_10000_vms", found[10_000].pairs, 15.0, "s")
    yield at_most("all_pairs_10000_vms_peak", found[10_000].peak, 2048, "MiB")
    for vms in (3_200, 10_000):
        yield Measurement(f"growth_1000_to_{vms}_vms", found[vms].pairs / found[1_000].pairs, "x")
    yield at_most("load_10000_vms", found[10_000].load, 5.0, "s")


def _median_of(path: Path, rounds: int) -> Whole:
    found = []
    for _ in range(rounds):
        with one_core(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(_whole, path).result())
    return sorted(found, key=lambda item: item.pairs)[rounds // 2]


def _whole(path: Path) -> Whole:
    loading, network = _timed(load_snapshot, path)
    judging, answer = _timed(reachability, network)
    return Whole(loading, judging, _peak_mib(), sum(len(item.classes.classes) for item in answer.answers))


def _peak_mib() -> float:
    """Of this program alone: ``ru_maxrss`` keeps what the process had before exec, its parent's memory."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None  # every Linux has it
    return int(found[1]) / 1024


def _one_flow(network: Network) -> Iterator[Measurement]:
    """``explain`` by the names of VMs: many different flows, each timed alone. The median comes first."""
    dice = Random(1)
    names = [vm.name for vm in network.vms.values()]

    def flow() -> Flow:
        source, target = dice.sample(names, 2)
        return Flow(source, target, Protocol.TCP, dice.randint(1, 65535))

    view = Compiled(network)
    first, _ = _timed(explain, view, flow())
    for _ in range(EXPLAINED):
        explain(view, flow())
    seconds = sorted(_timed(explain, view, flow())[0] for _ in range(EXPLAINED))
    yield at_most("explain", statistics.median(seconds) * 1e6, 200, "µs")
    yield Measurement("explain_99th_percentile", seconds[len(seconds) * 99 // 100] * 1e6, "µs")
    yield Measurement("explain_first_call", first * 1e6, "µs")


def _bulk(network: Network) -> Measurement:
    import numpy as np

    answer = reachability(network)
    dice = np.random.default_rng(1)
    sources, targets = dice.integers(0, len(answer.endpoints), (2, BULK))
    protocols = dice.integers(0, len(Protocol), BULK).astype(np.uint8)
    ports = dice.integers(1, 65536, BULK).astype(np.int32)
    rounds = [_timed(answer.allowed, sources, targets, protocols, ports)[0] for _ in range(ROUNDS)]
    return at_least("bulk", BULK / statistics.median(rounds), 1e6, "1/s")


class _Worker:
    """What a process of the pool keeps for all of its chunks."""

    view: Compiled
    answer: Reachability
    sampler: FlowSampler

    @classmethod
    def prepare(cls, path: Path) -> None:
        network = load_snapshot(path)
        cls.view = Compiled(network)
        cls.answer = reachability(cls.view)
        cls.sampler = FlowSampler(network, cls.answer.endpoints)


def _agreement(path: Path) -> Iterator[Measurement]:
    chunks = range(SAMPLED // CHUNK)
    with ProcessPoolExecutor(
        len(os.sched_getaffinity(0)), get_context("spawn"), initializer=_Worker.prepare, initargs=(path,)
    ) as pool:
        results = list(pool.map(_compare, chunks))
    wrong = [example for examples, _ in results for example in examples]
    for example in wrong[:10]:
        print(f"all pairs and explain disagree: {example}", file=sys.stderr)
    flows = CHUNK * len(chunks)
    yield at_least("sampled_flows", flows, SAMPLED, "flows")
    yield Measurement("sampled_flows_allowed", 100 * sum(allowed for _, allowed in results) / flows, "%")
    yield at_most("sampled_flows_disagreeing", len(wrong), 0, "flows")


def _compare(seed: int) -> tuple[list[str], int]:
    """The flows of one chunk that all pairs and ``explain`` judge differently, and how many pass."""
    import numpy as np

    dice = Random(seed)
    samples = [_Worker.sampler.draw(dice) for _ in range(CHUNK)]
    at_once = _Worker.answer.allowed(
        np.array([sample.source for sample in samples]),
        np.array([sample.target for sample in samples]),
        np.array([PLACES[sample.protocol] for sample in samples], dtype=np.uint8),
        np.array([sample.port or 0 for sample in samples], dtype=np.int32),
    )
    addresses = [str(endpoint.configuration.address) for endpoint in _Worker.answer.endpoints]
    wrong, allowed = [], 0
    for sample, passes in zip(samples, at_once.tolist(), strict=True):
        flow = Flow(addresses[sample.source], addresses[sample.target], sample.protocol, sample.port)
        verdict = explain(_Worker.view, flow).verdict
        allowed += passes
        if passes is not (verdict is PolicyVerdict.ALLOW):
            wrong.append(f"explain says {verdict} of {flow}")
    return wrong, allowed


def _peer(network: Network, explained: Measurement) -> Iterator[Measurement]:
    """aclcheck and the engine on the rules of one NSG and the same packets, half of them inbound.

    Rules that name application security groups are left out at both: an address does not tell its groups.
    Not timed at either: reading the rules, making the packets (for the engine, arrays of them). ``explain``
    judges more than one NSG: both ends', routes, peerings and the way back.
    """
    subnet = next(place for place in network.subnets.values() if place.nsg and place.route_table)
    group, scope = network.nsgs[subnet.nsg or ""], Compiled(network).context(key(subnet.id)).scope
    ours = theirs = 0.0
    wrong = 0
    for direction in Direction:
        rules = tuple(
            rule for rule in group.ordered(direction) if not (rule.source.asgs or rule.destination.asgs)
        )
        packets = packets_for(rules, scope, PEER_FLOWS // 2, Random(1))
        peer = AclCheckPeer(rules, scope)
        seconds, deciding = _timed(list, map(peer.decide, packets))
        theirs += seconds
        decide = partial(GroupTable(replace(group, rules=rules), direction, scope).decide, *_arrays(packets))
        rounds = [_timed(decide) for _ in range(ROUNDS)]
        ours += statistics.median(seconds for seconds, _ in rounds)
        allowed, places = rounds[0][1]
        wrong += sum(
            place != (NO_RULE if position is None else position) or passes is not _allows(rules, position)
            for passes, place, position in zip(allowed.tolist(), places.tolist(), deciding, strict=True)
        )
    yield at_most("aclcheck_disagreeing", wrong, 0, "flows")
    rate = PEER_FLOWS / theirs
    yield against(
        "bulk_rate_one_nsg", PEER_FLOWS / ours, "1/s", peer="aclcheck", peer_value=rate, at_least=100
    )
    yield against("explain_rate", 1e6 / explained.value, "1/s", peer="aclcheck", peer_value=rate)


def _allows(rules: Sequence[SecurityRule], position: int | None) -> bool:
    return position is not None and rules[position].access is Access.ALLOW


def _arrays(packets: Sequence[Packet]) -> Columns:
    """Sources, source ports, destinations, destination ports and protocols; 0 is no port."""
    import numpy as np

    return (
        np.array([packet.source_number for packet in packets], dtype=np.uint32),
        np.array([packet.source_port or 0 for packet in packets], dtype=np.int32),
        np.array([packet.destination_number for packet in packets], dtype=np.uint32),
        np.array([packet.destination_port or 0 for packet in packets], dtype=np.int32),
        np.array([PLACES[packet.protocol] for packet in packets], dtype=np.uint8),
    )
