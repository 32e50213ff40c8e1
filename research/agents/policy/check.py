"""Judges a command, a patch or an edit by the command policy: a refusal with what to do instead, or None.

It guards content and reads only simple commands: split at operators, words without quotes, `env`, `cd` and the like
followed, one `bash -c` or shell heredoc opened. What a shell would have to be run for slips through: loops, functions,
variables, globs made up at run time, words from a pipe, symbolic links, aliases, `eval`, scripts in files, and programs
beyond a literal name in a call that writes. That is caught where content is looked at: by the check of fixed files
after each tool use, and by the runner, which refuses to start with them changed. A false refusal is worse than a miss.
Reading, and talking about a file, is never refused, but for the files with audit scores.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from research.agents.policy import rules
from research.agents.policy.command import Command, read_line, script_of
from research.agents.policy.protected import Where, refuse_change
from research.core.settings import SETTINGS

MAX_COMMANDS = 100
"""Commands of a line that are judged, for the same reason as MAX_TOKENS."""
EDITED_FILE = {"Edit": "file_path", "MultiEdit": "file_path", "Write": "file_path", "NotebookEdit": "notebook_path"}
"""Editing tools that name one file, and the field that names it."""
READ_FILE = {"Read": "file_path", "Grep": "path", "NotebookRead": "notebook_path"}
"""Reading tools that name one file, and the field that names it."""
RUNNERS = ("run_experiment.py", "modal_gpu.py", "scripts.run_experiment", "scripts.modal_gpu")
"""The runner's files and modules."""
_LAUNCHERS = frozenset({"torchrun", "accelerate", "deepspeed", "nsys", "ncu"})
_PROFILERS = frozenset({"cProfile", "pdb", "torch.distributed.run"})
_IMPORTS = re.compile(r"^\s*(?:import|from) train\b", re.M)
"""How a program trains without naming train.py."""
_DETACHERS = frozenset({"tmux", "screen", "at", "batch"})
_BACKGROUND = (
    "A run is not sent to the background by the shell: it would be ended with its command, and nobody would see its "
    "end."
)
_PIPE = "The output goes to run.log whole, not through a pipe."


def check_command(command: str, cwd: str, where: Where, environment: Mapping[str, str]) -> str | None:
    """Judge a command line.

    Args:
        command: What would be given to a shell.
        cwd: Where.
        where: The checkout.
        environment: Variables of the shell, as far as known.

    Returns:
        Why it is refused and what to do instead, or None.
    """
    line = command.encode("utf-8", "replace").decode().replace("\0", "")
    cwd = cwd if where.below(cwd) else os.path.realpath(cwd)  # however a client spells it
    if os.path.realpath(cwd) not in where.roots:
        where = replace(where, launch=_from_top(where))
    for each in islice(_commands(line, cwd, environment), MAX_COMMANDS):
        for rule in _RULES:
            if found := rule(each, where):
                return found
        if branch := rules.branch_after(each):
            where = replace(where, branch=branch)
    return None


def check_patch(patch: str, cwd: str, where: Where) -> str | None:
    """Judge the text that the apply_patch tool was given."""
    return rules.refuse_patch(Command((), cwd), where, patch)


def check_edit(path: str, cwd: str, where: Where) -> str | None:
    """Judge a file that an editing tool would write (see EDITED_FILE)."""
    return refuse_change(os.path.normpath(os.path.join(cwd, path)), where)


def check_read(path: str, cwd: str, where: Where) -> str | None:
    """Judge a file that a reading tool would show (see READ_FILE): only audit scores are secret."""
    return rules.refuse_scores(Command(("cat", path), cwd), where)


def _commands(line: str, cwd: str, environment: Mapping[str, str]) -> Iterator[Command]:
    """Yield the commands of a line, and those that a shell, a program or find among them runs; no deeper."""
    for outer in read_line(line, cwd, environment):
        yield outer
        yield from rules.commands_of_find(outer)
        script = script_of(outer)
        for text in rules.command_lines_of(rules.code_of(outer)) if script is None else [script]:
            for inner in read_line(text, outer.cwd, environment):
                detached = outer.background or inner.background
                yield replace(inner, wrappers=outer.wrappers + inner.wrappers, background=detached)


# Launching ----------------------------------------------------------------------------------------------------------


def _script(command: Command) -> str:
    """Return the Python file, or the module, that a command runs; "" for none."""
    if command.name.endswith(".py"):
        return command.words[0]
    if command.name in _LAUNCHERS or _PROFILERS & set(command.words):
        return next((word for word in command.words if os.path.basename(word) == "train.py"), "")
    if not command.name.startswith("python") or rules.code_of(command):
        return ""
    return "".join(command.operands[:1])


def refuse_launch(command: Command, where: Where) -> str | None:
    """Refuse to train in any other way than by the runner, in the foreground, with its output in run.log."""
    script = _script(command)
    text = " ".join((*command.words, command.stdin)) if command.name in _DETACHERS else ""
    if "research replicate" in text or rules.verb_of(command)[:1] == ("replicate",):
        return _refuse_replicate(command, where, bool(text))
    hidden = "train.py" in text
    if script.rsplit("/", 1)[-1] in RUNNERS or hidden:
        return _refuse_runner(command, where, f"Type: `{where.launch}`", hidden)
    is_train = script == "train" or os.path.basename(script) == "train.py" or _IMPORTS.search(rules.code_of(command))
    if not is_train or {"--help", "-h"} & set(command.words):
        return None
    if where.driven:
        return "The driver measures your commit; do not train. Edit train.py, commit it once, and end your turn."
    return f"train.py is launched by the runner, which records and judges it. Type: `{where.launch}`"


def _refuse_runner(command: Command, where: Where, right: str, hidden: bool) -> str | None:
    split = command.words.index("--") if "--" in command.words else len(command.words)
    run = command.words[split + 1 :]
    helps = {"--help", "-h", "--dry-run"} & set(command.words[:split])
    if not hidden and (helps or not any(os.path.basename(word) == "train.py" for word in run)):
        return None
    if where.driven:
        return "The driver measures your commit; do not launch it. Commit train.py once, and end your turn."
    if hidden or _is_detached(command):
        return f"{_BACKGROUND} {right}{where.wait}"
    if _is_longer(command.value("--timeout")):
        return f"The time limit stays as it is: over it, the idea has failed. {right}"
    if run != ("uv", "run", "train.py"):
        return f"The command behind -- is uv run train.py, spelled so; no other is recorded. {right}"
    if command.piped:
        return f"{_PIPE} {right}"
    if command.cwd is not None and os.path.realpath(command.cwd) not in where.roots:
        return (
            f"Runs are launched from the top of the repository ({where.root}), where run.log belongs. "
            f"Type: `{_from_top(where)}`"
        )
    return _refuse_output(replace(command, cwd=command.cwd or where.root), where, right)


def _refuse_replicate(command: Command, where: Where, hidden: bool) -> str | None:
    """Refuse to measure a commit again in the background or through a pipe."""
    if where.driven or {"--help", "-h"} & set(command.words):
        return None
    words = ("replicate",) if hidden else command.words[command.words.index("replicate") :]
    right = f"Type: `uv run research {shlex.join(words)} > run.log 2>&1`"
    if hidden or _is_detached(command):
        return f"{_BACKGROUND} {right}{where.wait}"
    return f"{_PIPE} {right}" if command.piped else None


def _is_detached(command: Command) -> bool:
    return command.background or bool({"nohup", "setsid"} & set(command.wrappers))


def _from_top(where: Where) -> str:
    """Return the line that launches from any folder."""
    change = f"cd {shlex.quote(where.root)} && "
    return change + where.launch.removeprefix(change)


def _is_longer(minutes: str) -> bool:
    """Return whether a time limit is above the usual one."""
    return minutes.replace(".", "", 1).isdecimal() and float(minutes) > SETTINGS.default_timeout_minutes


def _refuse_output(command: Command, where: Where, right: str) -> str | None:
    """Refuse redirections other than `> run.log 2>&1`, in that order."""
    out = err = None
    for each in command.redirects:
        path = command.path(each.target)
        if each.sign in (">>", "&>>") and each.descriptor in ("", "1", "2"):
            return f"run.log is this run's alone: `>` replaces it, `>>` would mix runs. {right}"
        if each.sign in (">", ">|") and each.descriptor in ("", "1"):
            out = path
        elif each.sign == ">" and each.descriptor == "2":
            err = path
        elif each.sign == "&>" or (each.sign == ">&" and not each.descriptor and not each.target.isdigit()):
            out = err = path
        elif each.sign == ">&" and each.descriptor == "2" and each.target == "1":
            err = out
    if out is None or os.path.basename(out) != "run.log":
        return f"A run's output goes to run.log. {right}"
    if where.below(out) != ["run.log"]:
        return f"run.log belongs at the top of the repository. {right}"
    if err != out:
        return f"Errors go to run.log too, so `2>&1` stands after `> run.log`. {right}"
    return None


_RULES = (
    rules.refuse_patch, rules.refuse_git, rules.refuse_code, rules.refuse_packages, refuse_launch,
    rules.refuse_publishing, rules.refuse_processes, rules.refuse_verbs, rules.refuse_writes, rules.refuse_scores,
)  # fmt: skip
"""All rules; of several that refuse a command, the first one speaks."""
