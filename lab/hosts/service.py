"""One TCP or UDP service of a lab VM: `python3 -I -S service.py PROTOCOL PORT [ADDRESS]`.

A file of its own without imports from this project: VMs run it with their own python3. TCP sends
one line that names it, then returns what it receives; UDP returns each datagram from the address
that it was sent to. Writes "ready" to standard output once it listens, or "error ..." and ends.
Without an address it listens on all, IPv4 and IPv6.
"""

import contextlib
import errno
import os
import resource
import select
import socket
import struct
import sys

BACKLOG = 4096
CHUNK = 65536
MAX_PENDING = 1 << 20


def listening_socket(kind: socket.SocketKind, port: int, address: str) -> socket.socket:
    """Bound to ``address``, or to every address of both families where that is empty."""
    family = socket.AF_INET if address and ":" not in address else socket.AF_INET6
    try:
        sock = socket.socket(family, kind)
    except OSError:
        if address:
            raise
        family, sock = socket.AF_INET, socket.socket(socket.AF_INET, kind)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address else 0)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))
    if kind == socket.SOCK_STREAM:
        sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def serve_tcp(listener: socket.socket, banner: bytes) -> None:
    """Echoes for ever, any number of connections."""
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, tuple[socket.socket, bytearray]] = {}

    def close(fd: int) -> None:
        connection, _ = connections.pop(fd)
        poll.unregister(fd)
        connection.close()
        with contextlib.suppress(OSError):
            poll.modify(listener.fileno(), select.EPOLLIN)

    def flush(fd: int) -> None:
        connection, pending = connections[fd]
        with contextlib.suppress(BlockingIOError):
            while pending:
                del pending[: connection.send(pending)]
        wanted = select.EPOLLOUT if pending else 0
        if len(pending) < MAX_PENDING:
            wanted |= select.EPOLLIN
        poll.modify(fd, wanted)

    def accept() -> None:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # let the backlog fill, as a busy server's does, until a connection ends
                poll.modify(listener.fileno(), 0)
            return
        connection.setblocking(False)
        connections[connection.fileno()] = (connection, bytearray(banner))
        poll.register(connection.fileno(), select.EPOLLIN)
        flush(connection.fileno())

    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                accept()
                continue
            try:
                connection, pending = connections[fd]
                with contextlib.suppress(BlockingIOError):
                    data = connection.recv(CHUNK)
                    if not data:
                        close(fd)
                        continue
                    pending += data
                flush(fd)
            except OSError:
                if fd in connections:
                    close(fd)


def serve_udp(sock: socket.socket) -> None:
    """Echoes for ever; the answer leaves from the address that was asked, which matters with several."""
    six = sock.family == socket.AF_INET6
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
    sock.setblocking(True)
    while True:
        with contextlib.suppress(OSError):
            data, control, _, sender = sock.recvmsg(CHUNK, 256)
            answer = []
            for level, kind, value in control:
                if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                    answer.append((level, kind, value[:16] + struct.pack("I", 0)))
                elif (level, kind) == (socket.IPPROTO_IP, 8):
                    answer.append((level, kind, struct.pack("I", 0) + value[4:8] + bytes(4)))
            sock.sendmsg([data], answer, 0, sender)


def main() -> None:
    """Listens, says so, detaches from whoever started it, serves."""
    protocol, port = sys.argv[1], int(sys.argv[2])
    address = sys.argv[3] if len(sys.argv) > 3 else ""
    with open("/proc/self/comm", "w") as comm:
        comm.write(f"azreach-{protocol}-{port}"[:15])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    try:
        sock = listening_socket(kind, port, address)
    except OSError as error:
        os.write(1, f"error {error.strerror or error}\n".encode())
        sys.exit(1)
    os.write(1, b"ready\n")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if protocol == "tcp":
        serve_tcp(sock, f"azreach {socket.gethostname()} {port}/tcp\r\n".encode())
    else:
        serve_udp(sock)


if __name__ == "__main__":
    main()
