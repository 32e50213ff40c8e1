"""Guards a command for the runner, so that nothing the command started outlives the runner.

Run as a script by the local backend, in a session of its own. It starts the command in a process group of its own,
adopts every orphan below it, passes signals on, and when the runner asks, or is gone (its end of the control pipe
closes, also by SIGKILL), ends the whole tree, processes that left the group included. Standard library only, and
little of it: its start is part of every run's overhead.

    guard.py CONTROL_FD STATUS_FD LOCK_FDS CORE COMMAND...

LOCK_FDS: descriptors, with commas between them, that stay open until the last process is gone.
CORE: the processor core that all of them are pinned to, "" for any.
CONTROL_FD: one byte is the number of a signal for the command's group; end of file means: end everything.
STATUS_FD: lines "started PID", "failed ERRNO", "exit CODE", where CODE is 128+N for signal N.
"""

# ruff: noqa: SIM105 - contextlib would double the time this takes to start.

import ctypes
import errno
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLEAN_UP_S = 20.0  # killed processes go within milliseconds, unless a driver holds them; then we give up waiting


def prctl(option: int, value: int) -> None:
    """Sets a process option where the system has it."""
    try:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def descendants(of: int) -> list[int]:
    """Lists every process below one, children first; [] where /proc does not show them."""
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rsplit(b")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(name))
    found, pending = [], [of]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def kill_tree(group: int) -> None:
    """Ends every process below us and waits until they are gone."""
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


def send(how, target: int, number: int) -> None:  # type: ignore[no-untyped-def]
    """Sends a signal to a process or group that may be gone."""
    try:
        how(target, number)
    except OSError:
        pass


def start(command: list[str], ours: list[int]) -> tuple[int, int]:
    """Starts the command; returns its pid and 0, or the errno of a start that failed."""
    failure, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            for fd in ours:
                os.set_inheritable(fd, False)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(report, str(error.errno or errno.EIO).encode())
        finally:
            os._exit(127)
    os.close(report)
    problem = os.read(failure, 16)
    os.close(failure)
    return pid, int(problem) if problem else 0


def reap(command: int) -> int | None:
    """Collects ended children; returns the command's exit code if it was among them."""
    code = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == command:
                code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    except ChildProcessError:
        pass
    return code


def main() -> int:
    """Runs the command to its end, or to ours."""
    control, status = int(sys.argv[1]), int(sys.argv[2])
    inherited = [int(fd) for fd in sys.argv[3].split(",") if fd]

    def say(text: str) -> None:
        try:
            os.write(status, (text + "\n").encode())
        except OSError:
            pass

    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if sys.argv[4] and hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, [int(sys.argv[4])])
        except OSError:  # taken from us meanwhile: the run is merely not pinned
            pass
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    pid, problem = start(sys.argv[5:], [control, status, *inherited])
    if problem:
        say(f"failed {problem}")
        return 0
    say(f"started {pid}")
    while True:
        ready, _, _ = select.select([control, wake_read], [], [], 1.0)
        if wake_read in ready:
            try:
                os.read(wake_read, 512)
            except BlockingIOError:
                pass
        code = reap(pid)
        if code is not None:
            say(f"exit {code}")
            kill_tree(pid)
            return 0
        if control in ready:
            orders = os.read(control, 16)
            if not orders:
                kill_tree(pid)
                say(f"exit {128 + signal.SIGKILL}")
                return 0
            for order in orders:
                send(os.killpg, pid, order)


if __name__ == "__main__":
    sys.exit(main())
