"""TCP connects with their particulars: round trip, retransmits, echo, late reset."""

import select
import socket
import struct

from harness.agent.linux.batch import Batch
from harness.agent.linux.words import errno_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from harness.agent.linux.request import Params


class TcpBatch(Batch):
    """TCP connects. After the handshake: the nonce is sent and its echo awaited, the connection held."""

    def extras(self, params: "Params") -> None:
        self.hold = params.seconds("hold_ms", 0)
        self.abort = params.flag("abort")
        self.established: "dict[int, dict[str, Any]]" = {}
        self.heard: "dict[int, bytes]" = {}

    def opened(self, index: int, sock: "socket.socket") -> bool:
        self.reactor.watch(sock.fileno(), select.EPOLLOUT, lambda _: self.ready(index), self.answer)
        return True

    def ready(self, index: int) -> None:
        rtt = self.elapsed_ms(index)
        sock = self.targets[index].sock
        assert sock is not None
        failed = self.error(index)
        if failed is not None:
            if failed["outcome"] in ("refused", "unreachable", "prohibited"):
                failed["rtt_ms"] = rtt
            self.finish(index, failed)
            return
        kernel_rtt, retransmits = tcp_info(sock)
        # The kernel's own figure does not contain the time that this process was busy elsewhere.
        fields: "dict[str, Any]" = {
            "outcome": "connected",
            "rtt_ms": kernel_rtt if kernel_rtt and not retransmits else rtt,
            "retransmits": retransmits or None,
        }
        nonce = self.targets[index].nonce
        if nonce is None and not self.hold:
            self.finish(index, fields)
            return
        self.established[index] = fields
        if nonce is not None:
            fields["echoed"] = False
            try:
                sock.send(nonce.encode("utf-8"))
            except OSError as error:
                self.lost(index, error)
                return
        self.heard[index] = b""
        self.reactor.watch(sock.fileno(), select.EPOLLIN, lambda _: self.readable(index), self.answer)
        wait = max(self.hold, self.timeout if nonce is not None else 0.0)
        self.reactor.after(wait, lambda: self.finish(index, fields), self.answer)

    def readable(self, index: int) -> None:
        target = self.targets[index]
        fields = self.established[index]
        assert target.sock is not None
        try:
            data = target.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(index, error)
            return
        if not data:
            fields["peer_closed"] = True
            self.finish(index, fields)
            return
        self.heard[index] = (self.heard[index] + data)[-4096:]
        if target.nonce is not None and target.nonce.encode("utf-8") in self.heard[index]:
            fields["echoed"] = True
            if not self.hold:
                self.finish(index, fields)

    def lost(self, index: int, error: "OSError") -> None:
        fields = self.established[index]
        fields.update({"outcome": "reset", "errno": errno_name(error.errno), "detail": "after the handshake"})
        self.finish(index, fields)

    def waiting(self, index: int) -> bool:
        return self.results[index] is None and index not in self.established

    def finish(self, index: int, fields: "dict[str, Any]") -> None:
        sock = self.targets[index].sock
        if sock is not None and self.results[index] is None:
            if fields["outcome"] == "timeout":
                fields["retransmits"] = tcp_info(sock)[1] or None
            if self.abort:
                # A reset leaves no TIME-WAIT behind, which thousands of probes would pile up.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        Batch.finish(self, index, fields)


def tcp_info(sock: "socket.socket") -> "tuple[float | None, int]":
    """Round-trip time in ms as the kernel measured it (None if it did not), and SYNs sent again."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, 11, 104)
    except OSError:
        return None, 0
    if len(info) < 104:
        return None, 0
    rtt = struct.unpack_from("=I", info, 68)[0]
    return (rtt / 1000.0 or None), struct.unpack_from("=I", info, 100)[0]
