"""The packet fabric made real: one network namespace, one link per port, one nftables table.

:class:`Fabric` owns the namespace and applies plans to it. It works for root and, inside a user
namespace, for anybody. Not thread-safe, and not for a process with threads that care about their
network namespace: it visits others for moments. Not for VMs (their namespaces are the caller's),
nor for what a plan says (``plan``).
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from harness.errors import AzreachError
from lab import sysctl
from lab.edge import Edge
from lab.netlink import (
    IFF_LOWER_UP,
    LinkEnd,
    Request,
    Rtnetlink,
    add_address,
    add_route,
    delete_group,
    inside,
    link_group,
    link_up,
    new_netns,
    veth,
)
from lab.nftables import PartlyDoneError, rule_counters, run_script, run_steps
from lab.plan_model import FABRIC_GATEWAY6, FABRIC_MAC, DropReason, FabricPlan, Port
from lab.program import FIRST_IFINDEX, Program, build_program
from lab.program_steps import TABLE, steps

TABLE_NAME: Final = "fabric"
LOOPBACK_INDEX: Final = 1
_DOOMED: Final = 7
"""The link group that links are put into to be deleted at once."""


class FabricError(AzreachError):
    """The fabric cannot be made or changed on this machine."""


class Fabric:
    """A running fabric. Ports are attached, then a plan applied; either may change later, in any order."""

    def __init__(self) -> None:
        try:
            self._netns = new_netns()
        except OSError as error:
            raise FabricError(
                f"no network namespace for the fabric: {error.strerror}",
                hint="run as root, or inside `unshare --user --map-root-user --net`",
            ) from error
        with inside(self._netns):
            self._rtnetlink = Rtnetlink()
            # links carry packets for others; the fabric itself has addresses for neighbour discovery only
            for name in ("disable_ipv6", "accept_ra", "accept_dad"):
                sysctl.set_network(f"ipv6/conf/default/{name}", 1 if name == "disable_ipv6" else 0)
        self._ports: dict[int, Port] = {}
        self._edges: dict[str, Edge] = {}
        self._plan: FabricPlan | None = None
        self._program: Program | None = None
        self._counted: Counter[str] = Counter()
        """What rules had counted before they were replaced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The file descriptor of the fabric's network namespace (for captures at a port, ``p<id>``)."""
        return self._netns

    def attach(self, ports: Sequence[Port], netns: Mapping[str, int]) -> None:
        """Wires ports into the VMs' network namespaces (file descriptors by VM name) and configures the guest
        side as Azure's DHCP does: addresses, and the default route on the primary NIC.

        Raises FabricError that names the port which could not be wired; none of them is attached then.
        """
        for port in ports:
            if port.id in self._ports:
                raise FabricError(f"{port.nic}: port {port.id} is attached already")
            if port.vm not in netns:
                raise FabricError(f"{port.nic}: its VM {port.vm} has no network namespace")
        self._wire_up(ports, netns)
        self._reconcile()

    def detach(self, port_ids: Iterable[int]) -> None:
        """Removes the wires of these ports (unknown ids are ignored); both ends are gone when it returns."""
        gone = [number for number in port_ids if self._ports.pop(number, None) is not None]
        self._unwire(gone)
        self._reconcile()

    def apply(self, plan: FabricPlan) -> None:
        """Makes ``plan`` effective in one transaction; flows that exist are kept.

        Ports of the plan that are not attached (yet) are silent. Raises NftError; the old plan stays then.
        """
        before, self._plan = self._plan, plan
        try:
            self._arrange_edges(plan)
            self._reconcile()
        except AzreachError:
            self._plan = before
            self._arrange_edges(before)
            self._reconcile()
            raise

    def counters(self) -> dict[str, int]:
        """Packets that each NSG rule decided (by rule id) and that the fabric dropped (by DropReason)."""
        if self._program is None:
            return {}
        totals: Counter[str] = Counter({reason.value: 0 for reason in DropReason})
        totals.update(dict.fromkeys(self._program.rule_ids.values(), 0))
        totals.update(self._counted)
        totals.update(_named(rule_counters(self._netns, TABLE_NAME), self._program))
        for edge in self._edges.values():
            totals.update(_named(edge.counters(), self._program))
        return dict(totals)

    def port_states(self) -> dict[int, bool]:
        """Which attached ports have carrier, i.e. exist and are up at both ends."""
        links = self._rtnetlink.links()
        return {
            number: bool(links.get(FIRST_IFINDEX + number, ("", 0))[1] & IFF_LOWER_UP)
            for number in self._ports
        }

    def close(self) -> None:
        """Removes all wires and gives up the namespace, which ends with it. May be called again."""
        if self._netns < 0:
            return
        try:
            self._unwire(list(self._ports))
        finally:
            self._ports.clear()
            for edge in self._edges.values():
                edge.close()
            self._edges.clear()
            self._rtnetlink.close()
            os.close(self._netns)
            self._netns = -1

    def _wire_up(self, ports: Sequence[Port], netns: Mapping[str, int]) -> None:
        if not ports:
            return
        try:
            with inside(self._netns):
                self._rtnetlink.send([_wire(port, netns[port.vm]) for port in ports])
                self._ports.update((port.id, port) for port in ports)
                self._open_ipv6([port for port in ports if port.gateway6 is not None])
            for port in ports:
                with inside(netns[port.vm]):
                    _configure_guest(port)
        except OSError as error:
            for port in ports:
                self._ports.pop(port.id, None)
            self._unwire([port.id for port in ports])
            raise FabricError(f"cannot attach a port: {error.strerror}") from error

    def _arrange_edges(self, plan: FabricPlan | None) -> None:
        """Makes the edges of ``plan`` that are missing, brings all up to date, and ends those of others."""
        wanted = {} if plan is None else plan.edges
        for vnet in [vnet for vnet, edge in self._edges.items() if not edge.serves(wanted.get(vnet))]:
            self._end_edge(vnet)
        for vnet, item in wanted.items():
            try:
                edge = self._edges.get(vnet)
                if edge is None:
                    edge = self._edges[vnet] = Edge(item)
                    self._wire_up(edge.ports, dict.fromkeys((port.vm for port in edge.ports), edge.netns))
                edge.apply(item)
            except OSError as error:
                raise FabricError(f"cannot make the Internet edge of {vnet}: {error.strerror}") from error

    def _end_edge(self, vnet: str) -> None:
        edge = self._edges.pop(vnet)
        gone = [port for port in edge.ports if self._ports.pop(port.id, None) is not None]
        self._unwire([port.id for port in gone])
        edge.close()
        if self._program is not None:
            # links that are gone have left the base chain; others of their names have to enter it anew
            links = self._program.links - {port.link for port in gone}
            self._program = replace(self._program, links=links)

    def _open_ipv6(self, ports: Sequence[Port]) -> None:
        for port in ports:
            sysctl.set_network(f"ipv6/conf/{port.link}/disable_ipv6", 0)
        self._rtnetlink.send([add_address(FIRST_IFINDEX + port.id, FABRIC_GATEWAY6, 64) for port in ports])

    def _unwire(self, numbers: Collection[int]) -> None:
        # a VM that died took its wires along
        left = self._rtnetlink.links() if numbers else {}
        doomed = [FIRST_IFINDEX + number for number in numbers if FIRST_IFINDEX + number in left]
        if not doomed:
            return
        # one that vanished in between does not keep the others out of the group
        with suppress(OSError):
            self._rtnetlink.send([link_group(index, _DOOMED) for index in doomed])
        try:
            self._rtnetlink.send([delete_group(_DOOMED)])
        except OSError as error:
            remaining = self._rtnetlink.links()
            if any(index in remaining for index in doomed):
                raise FabricError(f"cannot remove ports: {error.strerror}") from error

    def _reconcile(self) -> None:
        if self._plan is None:
            return
        program = build_program(self._plan, self._ports.keys())
        script = steps(self._program, program)
        if script:
            replaced = self._replaced(program)
            try:
                run_steps(self._netns, script)
            except PartlyDoneError:
                self._restore()
                raise
            self._counted.update(replaced)
        self._program = program

    def _restore(self) -> None:
        """The old program from scratch: part of a new one is in effect, and nothing tells which."""
        before, self._program = self._program, None
        run_script(self._netns, f"add table {TABLE}\ndelete table {TABLE}\n")
        if before is not None:
            run_steps(self._netns, steps(None, before))
            self._program = before

    def _replaced(self, program: Program) -> Counter[str]:
        """What the rules have counted that are about to be replaced."""
        counted: Counter[str] = Counter()
        if self._program is not None:
            for name, rules in self._program.chains.items():
                if rules and program.chains.get(name) != rules:
                    counted.update(_named(rule_counters(self._netns, TABLE_NAME, name), self._program))
        return counted


def _wire(port: Port, netns: int) -> Request:
    here = LinkEnd(port.link, FABRIC_MAC, FIRST_IFINDEX + port.id)
    return veth(here, LinkEnd(port.interface, port.mac), netns, port.mtu)


def _configure_guest(port: Port) -> None:
    """In the VM's namespace: what Azure's DHCP and router advertisements would give."""
    index = socket.if_nametoindex(port.interface)
    for name in ("accept_ra", "accept_dad"):
        sysctl.set_network(f"ipv6/conf/{port.interface}/{name}", 0)
    requests = [link_up(LOOPBACK_INDEX), link_up(index)]
    requests += [add_address(index, address, length) for address, length in port.addresses]
    if port.primary:
        requests += [
            add_route(index, gateway) for gateway in (port.gateway4, port.gateway6) if gateway is not None
        ]
    with Rtnetlink() as rtnetlink:
        try:
            rtnetlink.send(requests)
        except OSError as error:
            raise OSError(error.errno, f"{port.vm}: {port.interface}: {error.strerror}") from error


def _named(packets: Mapping[str, int], program: Program) -> Counter[str]:
    """Counters by rule id or drop reason instead of by the rules' comments."""
    named: Counter[str] = Counter()
    for comment, number in packets.items():
        kind, _, tag = comment.partition(":")
        named[program.rule_ids.get(tag, tag) if kind == "rule" else tag] += number
    return named
