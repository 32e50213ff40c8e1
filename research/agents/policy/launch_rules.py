"""How training is launched: by the runner, in the foreground, its output in run.log and nowhere else."""

from __future__ import annotations

import os

from research.agents.shell.wrappers import DETACHING, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.policy.protected import Where
    from research.agents.shell.evaluate import Act, Walk

RUNNERS = ("run_experiment.py", "modal_gpu.py")
_MODULES = ("scripts.run_experiment", "scripts.modal_gpu")
_INTERPRETERS = ("python", "pypy", "torchrun", "accelerate", "deepspeed", "ipython")


def run_command(where: Where) -> str:
    """The one command that launches an experiment here."""
    options = where.backend or "--backend local"
    return f"python scripts/run_experiment.py {options} -- uv run train.py > run.log 2>&1"


def _script_at(argv: list[str]) -> int | None:
    """Place of the Python file that a command runs, None if it runs none."""
    name = name_of(argv)
    if name.endswith(".py"):
        return 0
    if not name.startswith(_INTERPRETERS):
        return None
    place = 1
    while place < len(argv):
        word = argv[place]
        if word == "-m":
            return place + 1 if argv[place + 1 : place + 2] in (["train"], *([module] for module in _MODULES)) else None
        if word == "-c" or word == "-" or (word.startswith("-") and word.endswith("c") and not word.startswith("--")):
            return None
        if word in ("-W", "-X"):
            place += 2
            continue
        if word.startswith("-") or not (word.endswith(".py") or word == "train" or name == "python"):
            place += 1
            continue
        return place
    return None


def script_of(argv: list[str]) -> str | None:
    """The Python file that a command runs."""
    place = _script_at(argv)
    return argv[place] if place is not None and place < len(argv) else None


def refused(act: Act, argv: list[str], wrappers: list[str], walk: Walk, where: Where) -> str | None:
    """Why a launch is refused, None for everything else."""
    script = script_of(argv)
    base = script.rsplit("/", 1)[-1] if script else ""
    if base in RUNNERS or script in _MODULES:
        return _runner(act, argv, wrappers, walk, where)
    if script is None and _reads_train(act, argv, walk):
        script, base = "train.py", "train.py"
    if base != "train.py" and not (script == "train" and "-m" in argv):
        return None
    path = walk.path(script or "")
    trees = [f"{root}/train.py" for root in where.roots]
    if path is not None and base == "train.py" and os.path.realpath(path) not in trees and path not in trees:
        inside = any(path.startswith(root + "/") for root in where.roots)
        if not inside and not path.endswith("/train.py"):
            return None
    if any(word in ("--help", "-h") for word in argv):
        return None
    if where.driven:
        return "The driver measures your commit; do not train. Edit train.py, commit it once, and end your turn."
    return f"train.py is launched by the runner, which records and judges it. Type: `{run_command(where)}`"


def _reads_train(act: Act, argv: list[str], walk: Walk) -> bool:
    """Whether a Python without a file gets train.py as its input."""
    if not name_of(argv).startswith(_INTERPRETERS) or act.stdin is None or not set(argv[1:]) <= {"-", "-u"}:
        return False
    return act.stdin == walk.text_of(f"{walk.root}/train.py")


def _runner(act: Act, argv: list[str], wrappers: list[str], walk: Walk, where: Where) -> str | None:
    own = argv[: argv.index("--")] if "--" in argv else argv
    command = argv[len(own) + 1 :]
    if any(word in ("--help", "-h", "--dry-run") for word in own) or not command:
        return None
    if not any(word.rsplit("/", 1)[-1] == "train.py" for word in command):
        return None
    if where.driven:
        return "The driver measures your commit; do not launch it. Commit train.py once, and end your turn."
    right = f"Type: `{run_command(where)}`"
    if act.background or DETACHING & set(wrappers):
        return (
            "A run stays in the foreground: what is sent to the background is ended with the command, and nobody "
            f"sees its end. {right} and poll its session with an empty write_stdin (yield_time_ms 300000)."
        )
    if command != ["uv", "run", "train.py"]:
        return f"Only `uv run train.py`, spelled so, is recorded. {right}"
    if act.pipes:
        return f"The output goes to run.log whole, not through a pipe. {right}"
    if walk.cwd is None or os.path.realpath(walk.cwd) not in [os.path.realpath(root) for root in where.roots]:
        return f"Runs are launched from the top of the repository ({where.root}), where run.log belongs. {right}"
    return _redirected(act, walk, where, right)


def _redirected(act: Act, walk: Walk, where: Where, right: str) -> str | None:
    """The redirections must be `> run.log 2>&1`, in that order."""
    out = err = None
    for fd, op, target, _ in act.redirects:
        path = walk.path(target)
        if op in (">>", "&>>") and (fd in ("", "1", "2")):
            return f"run.log is this run's alone: `>` replaces it, `>>` would mix runs. {right}"
        if op in (">", ">|") and fd in ("", "1"):
            out = path
        elif op == ">" and fd == "2":
            err = path
        elif op == "&>" or (op == ">&" and fd == "" and not target.isdigit()):
            out = err = path
        elif op == ">&" and fd == "2" and target == "1":
            err = out
    if out is None or os.path.basename(out) != "run.log":
        return f"A run's output goes to run.log. {right}"
    if os.path.realpath(os.path.dirname(out)) not in [os.path.realpath(root) for root in where.roots]:
        return f"run.log belongs at the top of the repository. {right}"
    if err != out:
        return f"Errors go to run.log too, so `2>&1` stands after `> run.log`. {right}"
    return None
