"""A process that stands in the way on a lab VM: `python3 -I -S helper.py PIDFILE MODE ADDRESS PORT N`.

A file of its own without imports from this project, as service.py. ``hold`` opens N TCP
connections and keeps them; ``stuck`` listens with a backlog of N, fills its own queue and
never accepts. Goes to the background once that is done, so that its caller can go on; its
process id is in PIDFILE.
"""

import os
import signal
import socket
import sys


def hold(address: str, port: int, count: int) -> list[socket.socket]:
    """``count`` established connections."""
    return [socket.create_connection((address, port), 5) for _ in range(count)]


def stuck(address: str, port: int, backlog: int) -> list[socket.socket]:
    """A listener on every address that never accepts, its queue full: Linux lets one more in than it says."""
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    listener.listen(backlog)
    return [listener, *hold(address, port, backlog + 1)]


def main() -> None:
    """Does its work, reports failure by its exit status, else stays in the background."""
    pid_file, mode, address, port, count = sys.argv[1:]
    sockets = {"hold": hold, "stuck": stuck}[mode](address, int(port), int(count))
    pid = os.fork()
    if pid:
        with open(pid_file, "w") as file:
            file.write(str(pid))
        os._exit(0)
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    while sockets:
        signal.pause()


if __name__ == "__main__":
    main()
