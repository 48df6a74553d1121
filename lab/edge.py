"""The Internet edge made real: one network namespace per VNet that translates addresses.

An ordinary router between two ports of the fabric, with connection tracking; so what the fabric's
rules see inside are private addresses, and what the internet sees are public ones. It has no process
of its own and ends with its file descriptor. Not for what is translated (``plan_edge``), nor for
wires (``fabric``).
"""

from __future__ import annotations

import os
import socket
from typing import Final

from harness.network.model import IPNetwork
from lab import edge_rules, sysctl
from lab.netlink import Rtnetlink, add_route, delete_route, inside, new_netns
from lab.nftables import NFPROTO_INET, rule_counters, run_script
from lab.plan_model import EdgePlan, Port

IDLE_SECONDS: Final = 240
"""Azure's idle time of a flow, inbound and outbound (4 minutes by default)."""

_BEFORE_LINKS: Final = (
    ("ipv4/ip_forward", 1),
    ("ipv6/conf/all/forwarding", 1),
    # set by some machines' defaults; what comes in outside has a source that may be routed inside
    ("ipv4/conf/all/rp_filter", 0),
    ("ipv4/conf/default/rp_filter", 0),
)
_IDLE: Final = tuple(
    f"netfilter/nf_conntrack_{name}"
    for name in ("tcp_timeout_established", "udp_timeout", "udp_timeout_stream")
)


class Edge:
    """One VNet's edge. Make it, wire its ``ports`` to ``netns``, :meth:`apply` a plan; later other plans."""

    def __init__(self, plan: EdgePlan) -> None:
        self.ports = (plan.inside, plan.outside)
        self.netns = new_netns()
        self._plan: EdgePlan | None = None
        try:
            with inside(self.netns):
                for name, value in _BEFORE_LINKS:
                    sysctl.set_network(name, value)
        except OSError:
            self.close()
            raise

    def serves(self, plan: EdgePlan | None) -> bool:
        """Whether this edge can follow ``plan``: its ports stay as they were wired."""
        return plan is not None and self.ports == (plan.inside, plan.outside)

    def apply(self, plan: EdgePlan) -> None:
        """Makes ``plan`` effective; flows whose translation it keeps go on. Raises NftError, OSError."""
        if plan == self._plan:
            return
        first = self._plan is None
        script = edge_rules.elements(plan)
        if first or self._plan is None or script != edge_rules.elements(self._plan):
            run_script(self.netns, (edge_rules.declarations(plan) if first else "") + script)
        with inside(self.netns):
            if first:
                for name in _IDLE:
                    sysctl.set_network(name, IDLE_SECONDS)
            self._route(plan.inside, set(plan.space), set() if self._plan is None else set(self._plan.space))
        self._plan = plan

    def counters(self) -> dict[str, int]:
        """Packets by the comment of the rule that dropped them."""
        return rule_counters(self.netns, edge_rules.TABLE.split()[1], family=NFPROTO_INET)

    def close(self) -> None:
        """Gives up the namespace; its links end with it. May be called again."""
        if self.netns >= 0:
            os.close(self.netns)
            self.netns = -1

    def _route(self, port: Port, wanted: set[IPNetwork], present: set[IPNetwork]) -> None:
        index = socket.if_nametoindex(port.interface)
        gateways = {4: port.gateway4, 6: port.gateway6}
        requests = [delete_route(index, prefix) for prefix in present - wanted]
        for prefix in wanted - present:
            gateway = gateways[prefix.version]
            assert gateway is not None  # an edge has both
            requests.append(add_route(index, gateway, prefix))
        with Rtnetlink() as rtnetlink:
            rtnetlink.send(requests)
