"""Judges a command, a patch or an edit by the command policy: a refusal with what to do instead, or None.

It reads only simple commands. What only a shell could resolve is not seen: loops, variables, words from a pipe, links,
aliases, `eval`, scripts in files, and Python programs beyond calls that write a file named by a literal. Such changes
are found by the check of fixed files after each tool use, and by the runner, which refuses to start with them. A wrong
refusal is worse than a miss. Reading a file, or talking about it, is never refused, except for files with audit scores.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from research.agents.policy.command import Command, read_line, script_of
from research.agents.policy.protected import (
    RECORDS,
    PolicyScope,
    Reach,
    is_inside,
    protected_part,
    refuse_change,
    refuse_deletion,
)
from research.core.contract import BRANCHES
from research.core.settings import SETTINGS

FILE_FIELD = {
    "Edit": "file_path", "MultiEdit": "file_path", "Write": "file_path", "NotebookEdit": "notebook_path",
    "Read": "file_path", "Grep": "path", "NotebookRead": "notebook_path",
}  # fmt: skip
"""Tools that name one file, and the field that names it."""


def check_command(command: str, cwd: str, where: PolicyScope, environment: Mapping[str, str]) -> str | None:
    """Return why a command line is refused and what to do instead, or None; environment is its shell's."""
    return _judge(_commands(command, cwd, where, environment), where)


def launches_head(command: str, cwd: str, where: PolicyScope, environment: Mapping[str, str]) -> bool:
    """Return whether a command line launches, to be recorded, the commit that is at HEAD now."""
    for one in _commands(command, cwd, where, environment):
        if one.name == "git" and _subcommand(one).name == "commit":  # what is launched then is another
            return False
        options, run = _runner_words(one)
        if os.path.basename(_script(one)) in RUNNERS and _is_target(run) and not _UNRECORDED & set(options):
            return True
    return False


def _commands(line: str, cwd: str, where: PolicyScope, environment: Mapping[str, str]) -> list[Command]:
    """Return the simple commands of a line, those of scripts behind `bash -c` too, one level deep."""
    line = line.encode("utf-8", "replace").decode().replace("\0", "")
    cwd = cwd if where.below(cwd) else os.path.realpath(cwd)  # however a client spells it
    commands: list[Command] = []
    for outer in read_line(line, cwd, environment):
        commands.append(outer)
        for inner in read_line(script_of(outer), outer.cwd, environment):
            is_behind = outer.background or inner.background
            commands.append(replace(inner, wrappers=outer.wrappers + inner.wrappers, background=is_behind))
    return commands


def check_tool(tool: str, text: str, cwd: str, where: PolicyScope) -> str | None:
    """Return why a tool that edits or reads is refused, by the path (see FILE_FIELD) or the patch that it is given."""
    program = "cat" if tool in ("Read", "Grep", "NotebookRead") else "tee" if tool in FILE_FIELD else "apply_patch"
    return _judge([Command((program, text), cwd)], where)


def _judge(commands: Iterable[Command], where: PolicyScope) -> str | None:
    """Return the first reason to refuse one of the commands, which run one after another."""
    for command in commands:
        for rule in _RULES:
            if found := rule(command, where):
                return found
        where = replace(where, branch=_branch_after(command) or where.branch)
    return None


def _branch_after(command: Command) -> str:
    """Return the branch that a command checks out, "" for none; other words than branches are files or commits."""
    git = _subcommand(command)
    if command.name != "git" or git.name not in ("checkout", "switch") or "--" in git.words:
        return ""
    new = git.value("-b", "-B", "-c", "-C")
    only = git.operands[0] if len(git.operands) == 1 else ""
    return new or (only if only.startswith(BRANCHES) or re.fullmatch(r"[a-z][\w/-]*", only) else "")


# Programs and verbs -------------------------------------------------------------------------------------------------

_PROCESS = (
    "Other processes on this machine may be somebody's runs. End only your own: Ctrl-C in its session, or kill PID of "
    "a process that you started; the runner ends runs at their time limit by itself."
)
_INSTALL = (
    "Experiments add no packages: a result must come from train.py alone, in the environment that every run had. "
    "Do it with what is installed (torch, numpy, the standard library), or propose the package to the person."
)
_RESEARCH = r"(?:python\S* -m )?research (?:-\S+ )*"
_ANYWHERE = {
    r"git (?:subtree )?push\b(?! (?:\S+ )*-n\b)|(?:uv|poetry) publish|(?:twine|hf|huggingface-cli) upload"
    r"|hub pull-request|(?:gh|glab|hub) (?:pr|mr|release|repo|issue) (?!list|view|status|diff|check|clone)\w":
        "Nothing is pushed or published from here: a person looks at the night's commits first. Go on locally.",
    r"git clean (?!(?:\S+ )*-\w*n)(?:\S+ )*-\w*[xX]":
        "git clean -x would delete results/ and the lab's memory. Without -x it deletes untracked files only.",
    r"git stash (?:\S+ )*(?:-\w*a\w*|--all)(?: |$)":
        "git stash -a would take results/ and the lab's memory away. Use git stash, or git stash -u.",
    r"git update-ref .*(?:refs/research|--stdin)":
        "refs/research/ keeps every run's commit reachable; the runner writes it. Leave it alone.",
    r"(?:pkill|killall|shutdown|reboot)\b|fuser .*-(?:\w*k|-kill)": _PROCESS,
    r"nvidia-smi (?=-)(?:\S+ )*(?:-(?:r|pm|pl|lgc|rgc|lmc|rmc|ac|rac|mig|c|e)(?:[ =]|$)"
    r"|--(?!query|help)[\w-]*(?:reset|limit|lock|mode|clocks|config))":
        "The GPU's settings are everybody's, and a reset ends every run on it. Leave them as they are.",
}  # fmt: skip
"""Commands that are refused on every branch, by how they begin, and why."""
_GUARDED = {
    r"(?:python\S* -m )?pip[\d.]* (?:-\S+ )*(?:un)?install\b"
    r"|uv (?:add|remove|sync .*--(?:all-)?(?:extra|group)|(?:pip|tool) (?:\w*install|sync|upgrade))"
    r"|(?:poetry|pipx|conda|mamba|apt|apt-get|brew) (?:-\S+ )*(?:add|install|create|update|upgrade|remove)\b":
        _INSTALL,
    rf"{_RESEARCH}(?:decide|import)\b":
        "`research decide` and `import` are a person's: they overrule what was measured. Type `uv run research settle` "
        "to carry the lab's verdict out, or `uv run research replicate` to measure again.",
    rf"{_RESEARCH}autonomy on\b":
        "Only the person turns autonomy on. Go on with the order that you have, or end your turn.",
}  # fmt: skip
"""Commands that are refused while experiments run, by how they begin, and why."""


def refuse_named(command: Command, where: PolicyScope) -> str | None:
    """Refuse commands by how they begin, packages from the network, and `git reset --hard` on branches of people."""
    text = " ".join((command.name, *_subcommand(command).words[command.name != "git" :]))
    if {"--help", "--dry-run"} & set(command.words):
        return None
    for pattern, reason in (_ANYWHERE | _GUARDED if where.guarded else _ANYWHERE).items():
        if re.match(pattern, text):
            return reason
    if where.driven and re.match(rf"{_RESEARCH}(?:settle|replicate|night)\b", text):
        return "The driver does that. Edit train.py, commit it once, and end your turn."
    piped = text in ("sh", "bash") and re.search(r"\b(?:curl|wget) .*\|", command.line)
    if where.guarded and (piped or any(re.match("--with(-requirements)?(=|$)", word) for word in command.wrappers)):
        return _INSTALL
    is_own = where.driven or where.branch.startswith(BRANCHES)  # a driven agent's work tree is thrown away anyway
    if text.startswith("git reset ") and "--hard" in text and not is_own:
        return (
            f"git reset --hard is for {BRANCHES}* branches only, and this is {where.branch or 'a detached HEAD'}. Keep "
            "the work: git stash, or git reset --keep COMMIT."
        )
    return None


def refuse_kill(command: Command, where: PolicyScope) -> str | None:
    """Refuse to end processes that are not this checkout's."""
    words = command.words[1:]
    if command.name != "kill" or {"-0", "-l"} & set(words):
        return None
    targets = words[2:] if words[:1] == ("-s",) else command.operands
    return None if targets and all(_is_own(word, command, where) for word in targets) else _PROCESS


def _is_own(word: str, command: Command, where: PolicyScope) -> bool:
    """Return whether a word of `kill` names a job of this shell, a process of this checkout, or one that is gone."""
    if not word.isdigit():
        return word.startswith("%") or ("$!" in command.line and re.fullmatch(r"\$(!|\w+|\{\w+\})", word) is not None)
    try:
        return is_inside(os.readlink(f"/proc/{word}/cwd"), os.path.realpath(where.root))
    except OSError as error:
        return isinstance(error, FileNotFoundError) and os.path.isdir("/proc/self")


# Launching ----------------------------------------------------------------------------------------------------------

RUNNERS = ("run_experiment.py", "modal_gpu.py", "scripts.run_experiment", "scripts.modal_gpu")
_UNRECORDED = frozenset({"--help", "-h", "--dry-run", "--allow-dirty"})
_STARTERS = frozenset({"torchrun", "accelerate", "deepspeed", "nsys", "ncu"})
_IMPORTS = re.compile(r"^\s*(?:import|from) train\b", re.M)
_REPLICATE = re.compile(rf"{_RESEARCH}(replicate.*)", re.S)


def refuse_launch(command: Command, where: PolicyScope) -> str | None:
    """Refuse to train in any other way than by the runner, in the foreground, with its output in run.log."""
    is_top = command.cwd is None or os.path.realpath(command.cwd) in where.roots
    right = f"Type: `{'' if is_top else f'cd {shlex.quote(where.root)} && '}{where.launch}`"
    script = os.path.basename(_script(command))
    hidden = " ".join((*command.words, command.stdin)) if command.name in ("tmux", "screen", "at", "batch") else ""
    replicate = _REPLICATE.match(f"{command.name} {shlex.join(command.words[1:])}")
    options, run = _runner_words(command)
    # Is it a launch at all?
    if {"--help", "-h", "--dry-run"} & set(options):
        return None
    if replicate or "research replicate" in hidden:
        right = f"Type: `uv run research {replicate[1] if replicate else 'replicate'} > run.log 2>&1`"
    elif script not in RUNNERS and "train.py" not in hidden:
        if script not in ("train", "train.py") and not _IMPORTS.search(_code_of(command)):
            return None
        if not where.driven:
            return f"train.py is launched by the runner, which records and judges it. {right}"
    elif not hidden and not _is_target(run):
        return None
    # It is; may it be made, and made so?
    if where.driven:
        return "The driver measures your commit; do not train. Edit train.py, commit it once, and end your turn."
    if hidden or command.background or {"nohup", "setsid"} & set(command.wrappers):
        return (
            "A run is not sent to the background by the shell: it would be ended with its command, and nobody would "
            f"see its end. {right}{where.wait}"
        )
    if command.piped:
        return f"The output goes to run.log whole, not through a pipe. {right}"
    minutes = command.value("--timeout")
    if minutes.replace(".", "", 1).isdecimal() and float(minutes) > SETTINGS.default_timeout_minutes:
        return f"The time limit stays as it is: over it, the idea has failed. {right}"
    if not replicate and run != ("uv", "run", "train.py"):
        return f"The command behind -- is uv run train.py, spelled so; no other is recorded. {right}"
    return None if replicate else _refuse_output(replace(command, cwd=command.cwd or where.root), where, right)


def _runner_words(command: Command) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a runner's words up to the "--", and the words of the command behind it."""
    end = command.words.index("--") if "--" in command.words else len(command.words)
    return command.words[:end], command.words[end + 1 :]


def _is_target(run: Sequence[str]) -> bool:
    return any(os.path.basename(word) == "train.py" for word in run)


def _script(command: Command) -> str:
    """Return the Python file, or the module, that a command runs; "" for none."""
    if command.name.endswith(".py"):
        return command.words[0]
    if command.name in _STARTERS or {"cProfile", "pdb", "torch.distributed.run"} & set(command.words):
        return next((word for word in command.words if os.path.basename(word) == "train.py"), "")
    is_file = command.name.startswith("python") and not _code_of(command)
    return "".join(command.operands[:1]) if is_file else ""


def _refuse_output(command: Command, where: PolicyScope, right: str) -> str | None:
    """Refuse redirections other than `> run.log 2>&1`, in that order."""
    writing = [each for each in command.redirects if ">" in each.sign]
    if any(">>" in each.sign for each in writing):
        return f"run.log is this run's alone: `>` replaces it, `>>` would mix runs. {right}"
    outs = [each for each in writing if each.writes and each.descriptor in ("", "1")]
    if not outs or where.below(command.path(outs[0].target)) != ["run.log"]:
        return f"A run's output goes to run.log at the top of the repository. {right}"
    behind = writing[writing.index(outs[0]) + 1 :]
    if "&" not in outs[0].sign and not any((each.descriptor, each.target) == ("2", "1") for each in behind):
        return f"Errors go to run.log too, so `2>&1` stands after `> run.log`. {right}"
    return None


# Files that a command writes ----------------------------------------------------------------------------------------

_WRITES_LAST = frozenset({"cp", "mv", "install", "ln", "rsync", "scp"})
_IN_PLACE = re.compile(r"-[0-9a-zE]*i|--in-place")


def refuse_writes(command: Command, where: PolicyScope) -> str | None:
    """Refuse to write or delete protected files, and to delete outside the work tree and the temporary folders."""
    deleted: Sequence[str] = ()
    if command.name in ("rm", "rmdir", "unlink", "shred", "mv"):
        deleted = command.operands[: -1 if command.name == "mv" else None]
    elif command.name == "find" and ("-delete" in command.words or command.value("-exec", "-execdir") == "rm"):
        # the names sought, in each folder
        folders = itertools.takewhile(lambda word: not word.startswith(("-", "!")), command.words[1:])
        deleted = [f"{folder}/{command.value('-name', '-path') or '*'}" for folder in tuple(folders) or (".",)]
    for word in deleted:
        if found := refuse_deletion(command.path(word), where, command.environment):
            return found
    return _refuse_all(_written(command), command, where)


def _refuse_all(paths: Iterable[tuple[str, Reach]], command: Command, where: PolicyScope) -> str | None:
    """Return the first reason why one of the paths, each with its reach, must not be written."""
    found = (refuse_change(command.path(path), where, reach) for path, reach in paths)
    return next(filter(None, found), None)


def _written(command: Command) -> Iterator[tuple[str, Reach]]:
    """Yield the words that name files which a command writes."""
    name, words = command.name, command.operands
    yield from ((each.target, "file") for each in command.redirects if each.writes)
    if name in ("tee", "truncate", "touch", "chmod", "chown", "patch"):
        yield from ((word, "tracked") for word in words)
    if name in _WRITES_LAST and len(words) > 1:
        yield words[-1], "file"
        yield from ((f"{words[-1]}/{os.path.basename(word.rstrip('/'))}", "file") for word in words[:-1])
    if name in ("sed", "perl", "awk", "gawk") and any(_IN_PLACE.match(word) for word in command.words):
        yield from ((word, "file") for word in words[1:])
    is_ruff = name == "ruff" and (words[:1] == ("format",) or command.has("", "--fix"))
    if (is_ruff or name == "black") and not command.has("", "--check", "--diff"):
        yield from ((word, "tracked") for word in words[is_ruff:] or (".",))


def _subcommand(command: Command) -> Command:
    """Return a git command from its subcommand on, in the folder that -C names; other commands as they are."""
    words, place = command.words, 1
    while command.name == "git" and place < len(words) and words[place].startswith("-"):
        if words[place] == "-C":
            command = replace(command, cwd=command.path("".join(words[place + 1 : place + 2])) or None)
        place += 2 if words[place] in ("-C", "-c") else 1
    return replace(command, words=words[place:]) if command.name == "git" else command


def refuse_git(command: Command, where: PolicyScope) -> str | None:
    """Refuse git commands that change protected files: moved, or taken from elsewhere than HEAD."""
    git = _subcommand(command)
    return _refuse_all(_paths_of_git(git, where), git, where) if command.name == "git" else None


def _paths_of_git(git: Command, where: PolicyScope) -> Iterator[tuple[str, Reach]]:
    """Yield the paths that git takes from elsewhere than HEAD, and records that it would commit."""
    verb = git.name
    split = git.words.index("--") if "--" in git.words else len(git.words)
    before, after = replace(git, words=git.words[:split]).operands, git.words[split + 1 :]
    paths = (*before, *after)
    if verb in ("rm", "mv", "update-index") and not git.has("", "--no-assume-unchanged", "--no-skip-worktree"):
        yield from ((path, "tracked") for path in paths)
    if verb == "add" and git.has("f", "--force"):  # without force git leaves ignored files out
        named = (*paths, ".") if git.has("A", "--all") else paths
        yield from ((path, "all") for path in named if protected_part(git.path(path), where, "all") in RECORDS)
    if verb in ("checkout", "restore"):
        source = git.value("-s", "--source") if verb == "restore" else "".join(before[:1])
        if verb == "checkout" and not after and (len(before) == 1 or protected_part(git.path(source), where)):
            source = ""  # `git checkout FILE` takes it from the index
        if source not in ("", "HEAD", "@"):
            yield from ((path, "tracked") for path in paths if path != source)


_PATCH_MARK = re.compile(r"^\s*\*\*\* (?:Update File|Add File|Delete File|Move to): (.*)$", re.M)
_DIFF_MARK = re.compile(r"^(?:---|\+\+\+|rename to|rename from) (?:[ab]/)?([^\t\n]+)", re.M)
_LITERAL = re.compile(r"'([^'\n]{1,300})'|\"([^\"\n]{1,300})\"")
_BINDING = re.compile(r"(?:^|[;\n])\s*(?:for\s+)?(\w+)\s*(?:=|\bin\b)((?![^;\n]*\b(?:open|read))[^;\n]*)")
_WRITE_CALLS = (
    r"\bopen\(\s*([^()]*?),\s*(?:mode\s*=\s*)?['\"][rbt]*[wax+]",
    r"((?:\b\w+\(\s*)?(?:'[^'\n]*'|\"[^\"\n]*\"|\b\w+)\s*\)?)\.(?:write_\w+|unlink|touch|rename|open\(\s*['\"][wax])",
    r"\b(?:unlink|rename|os\.replace|truncate|move|rmtree)\(([^()]*)",
    r"(?:\bos\.|\)\.|(?<![.\w]))remove\(([^()]*)",  # not that of a list
    r"\bcopy\w*\([^,()]*,([^()]*)",
)
"""Patterns of calls that write or delete, with the part that names the file as a group."""
_SCORE_CALLS = re.compile(
    r"(?:open|connect|Path|glob|load|read)\([^\n]{0,100}(?:(?:score|finish)\.json|memory\.db|report\.html)"
)
_CODE_CHARS = 10_000
"""Characters of a program that are looked through."""


def refuse_patch(command: Command, where: PolicyScope) -> str | None:
    """Refuse a patch that changes a protected file, by its headers."""
    is_patch = _subcommand(command).name in ("apply_patch", "applypatch", "patch", "apply", "am")
    text = "\n".join((*command.words[1:], command.stdin)) if is_patch else ""
    names = _PATCH_MARK.findall(text) or _DIFF_MARK.findall(text)
    return _refuse_all(((name.strip(), "file") for name in names), command, where)


def refuse_code(command: Command, where: PolicyScope) -> str | None:
    """Refuse calls in a Python program that write protected files or read audit scores, named by literals."""
    code = _code_of(command)
    if _SCORE_CALLS.search(code):
        return _SECRET
    bound = {name: _literals(value) for name, value in _BINDING.findall(code)}
    targets = {target for call in _WRITE_CALLS for target in re.findall(call, code)}
    names = {name for target in targets for name in _literals(target) or bound.get(target.strip(), [])}
    return _refuse_all(((name, "file") for name in names), command, where)


def _code_of(command: Command) -> str:
    """Return the program that Python is given behind -c, or on its input; "" for none."""
    if not command.name.startswith("python"):
        return ""
    code = command.value("-c") or (command.stdin if command.operands[:1] in ((), ("-",)) else "")
    return code[:_CODE_CHARS]


def _literals(text: str) -> list[str]:
    return [one or other for one, other in _LITERAL.findall(text)]


_SECRET = (
    "This file holds audit scores, which nobody who chooses experiments may see. Use `uv run research last-review`, "
    "`uv run research summary --json`, results.tsv, or the run's run.log."
)
_SECRET_PATH = re.compile(
    r"(?:.*/)?results/(?:.+/(?:(?:score|finish|\*)\.json|\*|memory\.db[^/]*)|report\.html|[^/]*\*[^/]*)\Z", re.S
)
_SHOW_NOTHING = frozenset({"ls", "stat", "echo", "printf", "test", "[", "[[", "git", "find", "du", "wc", "for", "rm"})
_PATTERN_FIRST = frozenset({"grep", "egrep", "rg", "sed", "awk", "jq"})


def refuse_scores(command: Command, where: PolicyScope) -> str | None:
    """Refuse to read the files that hold audit scores, by their names; `grep -r` over results/ and copies leak."""
    words = () if command.name in _SHOW_NOTHING else command.operands[command.name in _PATTERN_FIRST :]
    for word in (*words, *(each.target for each in command.redirects if each.sign == "<")):
        if _SECRET_PATH.match(word if "$" in word else "/".join(where.below(command.path(word)) or ())):
            return _SECRET
    return None


_RULES = (
    refuse_named, refuse_kill, refuse_patch, refuse_git, refuse_code, refuse_launch, refuse_writes, refuse_scores,
)  # fmt: skip
"""All rules; of several that refuse a command, the first one speaks."""
