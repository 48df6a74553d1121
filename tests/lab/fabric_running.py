"""A fabric with its hosts, for tests: made of a network, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lab.fabric import Fabric
from lab.plan import build_plan
from lab.plan_model import FabricPlan, InternetHost, rule_name
from tests.lab.fabric_networks import Builder
from tests.lab.netns_hosts import Host, hosts


@dataclass
class Running:
    """A fabric with its hosts (by VM name), after a plan."""

    fabric: Fabric
    hosts: dict[str, Host]
    plan: FabricPlan
    internet: Sequence[InternetHost] = ()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def change(self, builder: Builder) -> None:
        self.plan = build_plan(builder.build(), self.plan.port_ids, self.internet)
        self.fabric.apply(self.plan)

    def counted(self, name: str) -> int:
        """Packets of a rule (``<nsg>/<rule>``) or a drop reason."""
        counters = self.fabric.counters()
        return sum(
            packets for identifier, packets in counters.items() if name in (identifier, rule_name(identifier))
        )


@contextmanager
def running(builder: Builder, internet: Sequence[InternetHost] = ()) -> Iterator[Running]:
    plan = build_plan(builder.build(), internet_hosts=internet)
    names = [*(vm.name for vm in builder.vms.values()), *(host.name for host in internet)]
    with hosts(*names) as made, Fabric() as fabric:
        fabric.attach(list(plan.ports.values()), {name: host.netns for name, host in made.items()})
        fabric.apply(plan)
        yield Running(fabric, made, plan, internet)
