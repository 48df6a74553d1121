"""One datagram per target, and what came back."""

import errno
import select
import socket

from harness.agent.linux.batch import Batch
from harness.agent.linux.neterror import outcome_of_error, queued_error


class UdpBatch(Batch):
    """One datagram per target; waits for an answer or an ICMP error."""

    kind = socket.SOCK_DGRAM

    def opened(self, index: int, sock: "socket.socket") -> bool:
        target = self.targets[index]
        data = target.payload if target.payload is not None else (target.nonce or "").encode("utf-8")
        self.reactor.watch(sock.fileno(), select.EPOLLIN, lambda _: self.ready(index), self.answer)
        try:
            sock.send(data)
        except OSError as error:
            queued = queued_error(sock, target.local[0] if target.local else None)
            self.finish(index, outcome_of_error(error.errno or 0, queued, queued is None))
            return False
        return True

    def ready(self, index: int) -> None:
        rtt = self.elapsed_ms(index)
        target = self.targets[index]
        assert target.sock is not None
        failed = self.error(index)
        if failed is not None:
            failed["rtt_ms"] = rtt
            self.finish(index, failed)
            return
        try:
            data = target.sock.recv(65536)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                self.finish(index, outcome_of_error(error.errno or 0, None, False))
            return
        echoed = target.nonce is not None and target.nonce.encode("utf-8") in data
        answered = {"outcome": "answered", "rtt_ms": rtt, "echoed": echoed, "data": data[:512].hex()}
        self.finish(index, answered)
