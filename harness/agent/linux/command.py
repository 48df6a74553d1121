"""Commands of the machine, run without a shell, and its files."""

import errno
import os
import select
import signal
import time

from harness.agent.linux.hello import search_path, which
from harness.agent.linux.request import REQUIRED
from harness.agent.linux.words import OpError, errno_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.request import Answer, Params


PR_SET_PDEATHSIG = 1


class Command:
    """A child process: its output up to a limit, its end, killed with all its children at its time-out."""

    def __init__(
        self,
        agent: "Agent",
        argv: "list[str]",
        timeout: float,
        limit: int,
        stdin: "bytes | None",
        done: "Callable[[dict[str, Any]], None]",
        owner: "Answer",
    ) -> None:
        import subprocess

        if which(argv[0]) is None:
            raise OpError("not-found", "no command '%s' on this machine" % argv[0])
        self.agent = agent
        self.reactor = agent.reactor
        self.limit = limit
        self.done = done
        self.owner = owner
        self.truncated = self.timed_out = self.ended = False
        environment = dict(os.environ, PATH=search_path(), LANG="C.UTF-8", LC_ALL="C")
        environment.pop("LANGUAGE", None)
        t0 = time.perf_counter()
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                start_new_session=True,
                preexec_fn=dies_with_this(),  # noqa: PLW1509 - this process has one thread
            )
        except OSError as error:
            kind = {errno.ENOENT: "not-found", errno.EACCES: "permission"}.get(error.errno or 0, "failed")
            raise OpError(kind, "cannot run '%s': %s" % (argv[0], errno_name(error.errno))) from None
        self.t0 = t0
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output: "dict[int, list[bytes]]" = {}
        self.order = (self.process.stdout.fileno(), self.process.stderr.fileno())
        self.open = set(self.order)
        for fd in self.order:
            self.output[fd] = []
            os.set_blocking(fd, False)
            self.watch(fd)
        self.pending = stdin or b""
        if self.process.stdin is not None:
            os.set_blocking(self.process.stdin.fileno(), False)
            self.reactor.watch(self.process.stdin.fileno(), select.EPOLLOUT, lambda _: self.writable(), owner)
        self.timer = self.reactor.after(timeout, self.expire, owner)
        agent.children[self.process.pid] = self

    def readable(self, fd: int) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            room = self.limit - sum(len(part) for part in self.output[fd])
            if len(data) > room:
                self.truncated = True
            if room > 0:
                self.output[fd].append(data[:room])
            return
        self.shut(fd)
        self.settle()

    def watch(self, fd: int) -> None:
        self.reactor.watch(fd, select.EPOLLIN, lambda _: self.readable(fd), self.owner)

    def shut(self, fd: int) -> None:
        if fd in self.open:
            self.open.discard(fd)
            self.reactor.unwatch(fd)

    def writable(self) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        try:
            if self.pending:
                self.pending = self.pending[os.write(stdin.fileno(), self.pending) :]
        except BlockingIOError:
            return
        except OSError:
            self.pending = b""
        if not self.pending:
            self.reactor.unwatch(stdin.fileno())
            stdin.close()

    def reap(self) -> None:
        if self.process.poll() is not None:
            self.settle()

    def settle(self) -> None:
        """Done when the process has ended and its output is closed, or a moment after its end.

        A child left in the background may hold the output open for ever.
        """
        if self.ended or self.process.poll() is None:
            return
        if self.open:
            self.reactor.after(0.1, self.finish, self.owner)
        else:
            self.finish()

    def expire(self) -> None:
        self.timed_out = True
        self.kill()
        self.finish()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass

    def finish(self) -> None:
        if self.ended:
            return
        self.ended = True
        self.timer.cancel()
        for fd in list(self.open):
            self.shut(fd)
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.reactor.unwatch(self.process.stdin.fileno())
            self.process.stdin.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process.wait()
        self.agent.children.pop(self.process.pid, None)
        texts = [b"".join(self.output[fd]).decode("utf-8", "replace") for fd in self.order]
        self.done(
            {
                "exit_code": self.process.returncode,
                "stdout": texts[0],
                "stderr": texts[1],
                "truncated": self.truncated,
                "timed_out": self.timed_out,
                "ms": round((time.perf_counter() - self.t0) * 1000, 3),
            }
        )


def dies_with_this() -> "Callable[[], None] | None":
    """For a child before its exec: the kernel kills it when this process ends, by SIGKILL too.

    Its own children are not reached by that, nor is a program that changes its user (sudo). None
    where this Python has no ctypes.
    """
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except Exception:  # noqa: BLE001 - a hardened system refuses ctypes in ways of its own
        return None
    parent = os.getpid()

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel was told
            os._exit(1)

    return prepare


def run_command(agent: "Agent", answer: "Answer", params: "Params") -> None:
    argv = params.texts("argv", REQUIRED)
    timeout = params.seconds("timeout_ms", 10000, 86400000)
    limit = params.integer("max_output", 0, 16 << 20, 1 << 20)
    stdin = params.text("stdin", None, 16 << 20)
    params.done()
    if not argv or not argv[0]:
        raise params.bad("argv", "a list of at least one word")
    data = stdin.encode("utf-8", "replace") if stdin is not None else None
    Command(agent, argv, timeout, limit, data, answer.ok, answer)


def read_file(agent: "Agent", answer: "Answer", params: "Params") -> None:
    path = params.text("path", REQUIRED)
    limit = params.integer("max_bytes", 0, 16 << 20, 1 << 20)
    params.done()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            parts = []
            left = limit + 1
            while left > 0:
                part = os.read(fd, left)
                if not part:
                    break
                parts.append(part)
                left -= len(part)
        finally:
            os.close(fd)
    except OSError as error:
        kinds = {errno.ENOENT: "not-found", errno.ENOTDIR: "not-found", errno.EACCES: "permission"}
        kinds[errno.EPERM] = "permission"
        message = "%s: %s" % (path, os.strerror(error.errno or 0))
        raise OpError(kinds.get(error.errno or 0, "failed"), message) from None
    data = b"".join(parts)
    answer.ok({"content": data[:limit].decode("utf-8", "replace"), "truncated": len(data) > limit})
