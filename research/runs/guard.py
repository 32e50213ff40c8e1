"""Guards a command for the runner, so that nothing the command started outlives the runner.

Run as a script by the local backend, in a session of its own. It starts the command in a process group of its own,
adopts every orphan below it, and ends the whole tree, processes that left the group included, when the command ends,
the runner asks, or the runner is gone. Standard library only, and little of it: its start is part of every run's time.

    guard.py LOCK_FDS CORE COMMAND...

LOCK_FDS: descriptors, with commas between them, that stay open until the last process is gone.
CORE: the processor core that all of them are pinned to, "" for any.

Standard input is a socket to the runner. Each byte from it is the number of a signal for the command's group; its end,
which SIGKILL to the runner brings about too, means: end everything. The guard reports on it in lines: "started PID",
"failed ERRNO", "exit CODE", where CODE is 128+N for signal N.
"""

# ruff: noqa: SIM105 - contextlib would double the time this takes to start.

import ctypes
import errno
import os
import select
import signal
import sys
import time

RUNNER = 0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLEAN_UP_S = 20.0  # killed processes go within milliseconds, unless a driver holds them; then we give up waiting
OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


def prctl(option: int, value: int) -> None:
    """Set a process option where the system has it."""
    try:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def report(text: str, channel: int = RUNNER) -> None:
    """Send the runner a line; it may be gone."""
    try:
        os.write(channel, f"{text}\n".encode())
    except OSError:
        pass


def send(how, target: int, number: int) -> None:  # type: ignore[no-untyped-def]
    """Send a signal to a process or group that may be gone."""
    try:
        how(target, number)
    except OSError:
        pass


def descendants(of: int) -> list[int]:
    """List every process below one; [] where /proc does not show them."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        try:
            with open(f"/proc/{int(name)}/stat", "rb") as file:
                parent = int(file.read().rsplit(b")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(name))
    found = list(children.get(of, []))
    for pid in found:
        found += children.get(pid, [])
    return found


def kill_tree(group: int) -> None:
    """End every process below us and wait until they are gone."""
    deadline = time.monotonic() + CLEAN_UP_S
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            send(os.kill, pid, signal.SIGKILL)
        send(os.killpg, group, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def start(command: list[str], locks: list[int]) -> int:
    """Start the command without our locks and socket; return its pid. The child reports a start that fails."""
    channel = os.dup(RUNNER)  # closed by the start
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for number in OURS:
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), RUNNER)
            for fd in locks:
                os.set_inheritable(fd, False)
            os.execvp(command[0], command)
        except OSError as error:
            report(f"failed {error.errno or errno.EIO}", channel)
        finally:
            os._exit(127)
    os.close(channel)
    return pid


def reap(command: int) -> int | None:
    """Collect ended children; return the command's exit code if it was among them."""
    code = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == command:
                status = ended[1]
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    except ChildProcessError:
        pass
    return code


def obey(command: int) -> int | None:
    """Pass on the signals that the runner sends; return an exit code where it asks for the end or is gone."""
    try:
        orders = os.read(RUNNER, 16)
    except OSError:
        orders = b""
    for number in orders:
        send(os.killpg, command, number)
    return None if orders else 128 + signal.SIGKILL


def main() -> None:
    """Run the command until it ends, or the runner does."""
    locks = [int(fd) for fd in sys.argv[1].split(",") if fd]
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if sys.argv[2] and hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, [int(sys.argv[2])])
        except OSError:  # taken from us meanwhile: the run is merely not pinned
            pass
    for number in OURS:
        signal.signal(number, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    pid = start(sys.argv[3:], locks)
    report(f"started {pid}")
    code = None
    while code is None:
        ready, _, _ = select.select([RUNNER, woken], [], [], 1.0)
        if woken in ready:
            os.read(woken, 512)
        code = reap(pid)
        if code is None and RUNNER in ready:
            code = obey(pid)
    report(f"exit {code}")
    kill_tree(pid)


if __name__ == "__main__":
    main()
