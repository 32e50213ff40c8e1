"""Lists the rules: each takes one simple command and returns why it is refused and what to do instead, or None."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from research.agents.policy.command import Command
from research.agents.policy.protected import (
    RECORDS,
    SECRET,
    Reach,
    Where,
    is_inside,
    protected_part,
    refuse_change,
    refuse_deletion,
)

# Files that a command writes ----------------------------------------------------------------------------------------

_WRITES_ALL = frozenset({"tee", "truncate", "touch", "chmod", "chown", "patch"})
_WRITES_LAST = frozenset({"cp", "mv", "install", "ln", "rsync", "scp"})
_DELETES = frozenset({"rm", "rmdir", "unlink", "shred"})
_EDITORS = frozenset({"sed", "perl", "ruby", "awk", "gawk"})
_IN_PLACE = re.compile(r"-[0-9a-zE]*i|--in-place")
_FORMATTERS = frozenset({"ruff", "black", "isort"})


def _written(command: Command) -> Iterator[tuple[str, Reach]]:
    """Yield the words that name files which a command writes, and how far each reaches."""
    name, words = command.name, command.operands
    yield from ((each.target, "file") for each in command.redirects if each.writes)
    if name in _WRITES_ALL:
        reach: Reach = "tracked" if command.has("R", "--recursive") else "file"
        yield from ((word, reach) for word in words)
    if name in _WRITES_LAST and len(words) > 1:
        yield words[-1], "file"
        yield from ((f"{words[-1]}/{os.path.basename(word.rstrip('/'))}", "file") for word in words[:-1])
    if name == "dd":
        yield from ((word[3:], "file") for word in words if word.startswith("of="))
    if name in _EDITORS and any(_IN_PLACE.match(word) for word in command.words):
        yield from ((word, "file") for word in words[1:])
    if name in ("curl", "sort", "wget"):
        yield command.value(*(("-O", "--output-document") if name == "wget" else ("-o", "--output"))), "file"
    if name in _FORMATTERS and not command.has("", "--check", "--diff"):
        verb = words[:1] if name == "ruff" else ()
        if not verb or verb == ("format",) or command.has("", "--fix"):
            yield from ((word, "tracked") for word in words[len(verb) :] or (".",))


def refuse_writes(command: Command, where: Where) -> str | None:
    """Refuse to write or delete protected files, and to delete outside the work tree and the temporary folders."""
    deleted = command.operands if command.name in _DELETES else command.operands[:-1] if command.name == "mv" else ()
    for word in deleted:
        path = command.path(word)
        if found := refuse_deletion(path, where, command.environment) or refuse_change(path, where, "all"):
            return found
    for word, reach in _written(command):
        if found := refuse_change(command.path(word), where, reach):
            return found
    return None


def commands_of_find(command: Command) -> list[Command]:
    """Return what `find -delete` and `find -exec` run, over the pattern of names instead of the files found."""
    words = command.words
    runs = [place for place, word in enumerate(words) if word in ("-exec", "-execdir")]
    if command.name != "find" or not (runs or "-delete" in words):
        return []
    options = next((place for place, word in enumerate(words) if word.startswith(("-", "!"))), len(words))
    pattern = command.value("-name", "-path") or "*"
    run = [word for word in words[runs[0] + 1 :] if word not in (";", "+")] if runs else ["rm", "{}"]
    starts = words[1:options] or (".",)
    return [replace(command, words=tuple(word.replace("{}", f"{start}/{pattern}") for word in run)) for start in starts]


# Patches and programs -----------------------------------------------------------------------------------------------

_PATCH_MARK = re.compile(r"^\s*\*\*\* (?:Update File|Add File|Delete File|Move to): (.*)$", re.M)
_DIFF_MARK = re.compile(r"^(?:---|\+\+\+|rename to|rename from) (?:[ab]/)?([^\t\n]+)", re.M)
_LITERAL = re.compile(r"'([^'\n]{1,300})'|\"([^\"\n]{1,300})\"")
_BINDING = re.compile(r"(?:^|[;\n])\s*(?:for\s+)?(\w+)\s*(?:=|\bin\b)((?![^;\n]*\b(?:open|read))[^;\n]*)")
_WRITE_CALLS = tuple(
    re.compile(pattern, re.X)
    for pattern in (
        r"\bopen\(\s*([^()]*?),\s*(?:mode\s*=\s*)?['\"][rbt]*[wax+]",
        r"""((?:\b\w+\(\s*)?(?:'[^'\n]*'|"[^"\n]*"|\b\w+)\s*\)?)
            \.(?:write_\w+|unlink|touch|rename|open\(\s*['"][wax])""",
        r"""\b(?:remove|unlink|rename|os\.replace|truncate|move|rmtree|File\.write
            |(?:write|append)File\w*|(?:rm|unlink|rename)Sync)\(([^()]*)""",
        r"\bcopy\w*\([^,()]*,([^()]*)",
    )
)
"""Calls that write or delete, each with what names the file."""
_SHELL_CALLS = re.compile(r"\b(?:system|popen|Popen|run|call|check_\w+|run_path|exec\w*Sync)\(([^()]*)")
_SCORE_CALLS = re.compile(
    r"(?:open|connect|Path|glob|load|read)\([^\n]{0,100}(?:(?:score|finish)\.json|memory\.db|report\.html)"
)
_CODE_CHARS = 10_000
"""How much of a program is looked through."""
_CODE_OPTIONS = {"python": "c", "perl": "eE", "ruby": "e", "node": "ep"}


def refuse_patch(command: Command, where: Where, text: str = "") -> str | None:
    """Refuse a patch that changes a protected file: apply_patch, patch, and the text of the apply_patch tool."""
    if command.name in ("apply_patch", "applypatch", "patch"):
        text = "\n".join((*command.words[1:], command.stdin))
    for name in _PATCH_MARK.findall(text) or _DIFF_MARK.findall(text):
        if found := refuse_change(command.path(name.strip()), where):
            return found
    return None


def code_of(command: Command) -> str:
    """Return the program that an interpreter is given behind -c or -e, or on its input; "" for none."""
    letters = next((letters for name, letters in _CODE_OPTIONS.items() if command.name.startswith(name)), "")
    for place, word in enumerate(command.words[1:], 1):
        if not word.startswith("-") or word == "-":
            break
        if letters and not word.startswith("--") and word[-1] in letters:
            return "".join(command.words[place + 1 : place + 2])[:_CODE_CHARS]
    return command.stdin[:_CODE_CHARS] if letters and command.operands in ((), ("-",)) else ""


def command_lines_of(code: str) -> list[str]:
    """Return the command lines that calls such as subprocess.run and os.system in a program are given as literals."""
    calls = _SHELL_CALLS.findall(code)
    return [shlex.join(_literals(call)) if "[" in call else " ; ".join(_literals(call)) for call in calls]


def refuse_code(command: Command, where: Where) -> str | None:
    """Refuse a program that names a protected file in a call that writes, or a file of audit scores in one that reads.

    Names are literals, or variables bound to one; nothing else of the program is understood.
    """
    code = code_of(command)
    if _SCORE_CALLS.search(code):
        return SECRET
    if not any(name.rsplit("/", 1)[-1] in code for name in where.protected):
        return None
    bound = {name: _literals(value) for name, value in _BINDING.findall(code)}
    targets = (target for call in _WRITE_CALLS for target in call.findall(code))
    for name in {name for target in targets for name in _literals(target) or bound.get(target.strip(), [])}:
        if found := refuse_change(command.path(name), where):
            return found
    return None


def _literals(text: str) -> list[str]:
    return [one or other for one, other in _LITERAL.findall(text)]


# Audit scores -------------------------------------------------------------------------------------------------------

_SHOW_NOTHING = frozenset({"ls", "stat", "echo", "printf", "test", "[", "[[", "git", "find", "du", "wc", "for", "rm"})
_PATTERN_FIRST = frozenset({"grep", "egrep", "rg", "sed", "awk", "jq"})


def refuse_scores(command: Command, where: Where) -> str | None:
    """Refuse to read the files that hold audit scores, by their names.

    This leaks: `grep -r` over results/, a copy of the folder, or a name that a loop makes up is not seen.
    """
    if command.name in _SHOW_NOTHING:
        return None
    words = command.operands[command.name in _PATTERN_FIRST :]
    for word in (*words, *(each.target for each in command.redirects if each.sign == "<")):
        parts = word.split("/") if "$" in word else where.below(command.path(word)) or [""]
        name = parts[-1]
        held = name.startswith("memory.db") or any(fnmatchcase(each, name) for each in ("score.json", "finish.json"))
        if (held and "results" in parts[:-1] and len(parts) > 2) or parts[-2:] == ["results", "report.html"]:
            return SECRET
    return None


# git ----------------------------------------------------------------------------------------------------------------

_PUSH = "Nothing is pushed from here: a person looks at the night's commits and pushes them. Go on locally."


def _subcommand(command: Command) -> Command:
    """Return a git command from its subcommand on, in the folder that -C names."""
    words, place = command.words, 1
    while place < len(words) and words[place].startswith("-"):
        if words[place] == "-C":
            command = replace(command, cwd=command.path("".join(words[place + 1 : place + 2])) or None)
        place += 2 if words[place] in ("-C", "-c", "--git-dir", "--work-tree") else 1
    return replace(command, words=words[place:])


def branch_after(command: Command) -> str:
    """Return the branch that a command checks out, "" for none."""
    git = _subcommand(command)
    if command.name != "git" or git.words[:1] not in (("checkout",), ("switch",)) or "--" in git.words:
        return ""
    return git.value("-b", "-B", "-c", "-C") or (git.operands[0] if len(git.operands) == 1 else "")


def refuse_git(command: Command, where: Where) -> str | None:
    """Refuse what publishes, loses measured commits or the lab's memory, or changes protected files."""
    git = _subcommand(command)
    verb, *rest = git.words or ("",)
    if command.name != "git" or {"--help", "-h"} & set(rest):
        return None
    if verb in ("push", "send-pack", "send-email", "request-pull") or [verb, *rest[:1]] == ["subtree", "push"]:
        return None if git.has("n", "--dry-run") else _PUSH
    if verb == "reset" and "--hard" in rest and not where.branch.startswith("autoresearch/"):
        return (
            "git reset --hard is for autoresearch/* branches only, and this is "
            f"{where.branch or 'a detached HEAD'}. Keep the work: git stash, or git reset --keep COMMIT."
        )
    if verb == "clean" and git.has("xX") and not git.has("n", "--dry-run"):
        return "git clean -x would delete results/ and the lab's memory. Without -x it deletes untracked files only."
    if verb == "stash" and git.has("a", "--all"):
        return "git stash -a would take results/ and the lab's memory away. Use git stash, or git stash -u."
    if verb == "update-ref" and any(word.startswith("refs/research") or word == "--stdin" for word in rest):
        return "refs/research/ keeps every run's commit reachable; the runner writes it. Leave it alone."
    if verb in ("filter-branch", "filter-repo"):
        return "Rewriting history would take away commits that were measured. Add a commit instead."
    if verb in ("apply", "am"):
        return refuse_patch(git, where, git.stdin)
    for path, reach in _paths_of_git(git, where):
        if found := refuse_change(git.path(path), where, reach):
            return found
    return None


def _paths_of_git(git: Command, where: Where) -> Iterator[tuple[str, Reach]]:
    """Yield the paths that git takes from elsewhere than HEAD, and records that it would commit."""
    verb = git.words[0] if git.words else ""
    split = git.words.index("--") if "--" in git.words else len(git.words)
    before, after = replace(git, words=git.words[:split]).operands, git.words[split + 1 :]
    if verb in ("rm", "mv", "update-index") and not git.has("", "--no-assume-unchanged", "--no-skip-worktree"):
        yield from ((path, "tracked") for path in before + after)
    if verb == "add" and git.has("f", "--force"):  # without force git itself leaves ignored files out
        everything = (".",) if git.has("A", "--all") else ()
        for path in before + after + everything:
            if protected_part(git.path(path), where, "all") in RECORDS:
                yield path, "all"
    if verb == "commit":
        yield from ((path, "file") for path in after if protected_part(git.path(path), where) in RECORDS)
    if verb in ("checkout", "restore"):
        source = git.value("-s", "--source") if verb == "restore" else "".join(before[:1])
        if verb == "checkout" and not after and (len(before) == 1 or protected_part(git.path(source), where)):
            source = ""  # `git checkout FILE` takes it from the index
        if source not in ("", "HEAD", "@"):
            yield from ((path, "tracked") for path in before + after if path != source)


# Packages, publishing, processes, verdicts --------------------------------------------------------------------------

_INSTALLERS = {
    "uv": "add remove pip tool", "pip": "install uninstall", "poetry": "add remove install update", "pipx": "install",
    "conda": "install create update remove", "mamba": "install create update remove", "pdm": "add remove",
    "apt": "install remove purge upgrade", "apt-get": "install remove purge upgrade", "brew": "install",
}  # fmt: skip
_READING = frozenset({"list", "show", "freeze", "tree", "check", "dir", "view", "status", "diff", "checks", "clone"})
_INSTALL = (
    "Experiments add no packages: a result must come from train.py alone, in the environment that every run had. "
    "Do it with what is installed (torch, numpy, the standard library), or propose the package to the person."
)
_PUBLISH = "Nothing is published from here: a person looks at the night's commits first. Go on locally."
_PROCESS = (
    "Other processes on this machine may be somebody's runs. End only your own: Ctrl-C in its session, or kill PID of "
    "a process that you started; the runner ends runs at their time limit by itself."
)
_GPU_SETTING = re.compile(r"-(?:r|pm|pl|lgc|rgc|lmc|rmc|ac|rac|mig|c|e)$|--\S*(?:reset|limit|lock|mode|clocks|config)")


def refuse_packages(command: Command, where: Where) -> str | None:
    """Refuse to install or remove packages, and to run with packages that other runs do not have."""
    if not where.guarded:  # where no experiments run, packages are the person's business
        return None
    words = command.words[2:] if command.words[1:2] == ("-m",) else command.words
    name = re.sub(r"^pip[\d.]*$", "pip", words[0].rsplit("/", 1)[-1] if words else "")
    options = {word.split("=")[0] for word in (*words, *command.wrappers)}
    verbs = replace(command, words=words).operands[:2]
    piped = command.feeder in ("curl", "wget") and name in ("sh", "bash") and not verbs
    if piped or {"--with", "--with-requirements"} & {word.split("=")[0] for word in command.wrappers}:
        return _INSTALL
    if name == "uv" and verbs[:1] == ("sync",):
        return _INSTALL if {"--extra", "--all-extras", "--group", "--all-groups"} & options else None
    asks = bool(verbs) and verbs[0] in _INSTALLERS.get(name, "").split() and not _READING & set(verbs)
    return _INSTALL if asks and not {"--help", "--dry-run"} & options else None


def refuse_publishing(command: Command, where: Where) -> str | None:
    """Refuse pull requests, releases and uploads."""
    name, (verb, then) = command.name, (*command.operands, "", "")[:2]
    if name in ("gh", "glab", "hub") and verb in ("pr", "mr", "release", "repo", "issue", "pull-request"):
        return _PUBLISH if (then and then not in _READING) or verb == "pull-request" else None
    uploads = name in ("uv", "poetry", "twine", "huggingface-cli", "hf") and verb in ("publish", "upload")
    return _PUBLISH if uploads else None


def refuse_processes(command: Command, where: Where) -> str | None:
    """Refuse to end processes that are not this checkout's, and to change the GPU's settings."""
    name, words = command.name, command.words[1:]
    if name in ("pkill", "killall", "shutdown", "reboot") or (name == "fuser" and command.has("k", "--kill")):
        return _PROCESS
    if name == "nvidia-smi" and command.operands[:1] != words[:1]:  # not one of its subcommands
        changes = any(_GPU_SETTING.match(word.split("=")[0]) for word in words)
        text = "The GPU's settings are everybody's, and a reset ends every run on it. Leave them as they are."
        return text if changes else None
    if name != "kill" or {"-0", "-l"} & set(words):
        return None
    targets = words[2:] if words[:1] in (("-s",), ("-n",)) else command.operands
    return None if targets and all(_is_own(word, command, where) for word in targets) else _PROCESS


def _is_own(word: str, command: Command, where: Where) -> bool:
    """Return whether what is to be killed is a job of this shell, a process of this checkout, or gone."""
    if not word.isdigit():
        return word.startswith("%") or ("$!" in command.line and re.fullmatch(r"\$(!|\w+|\{\w+\})", word) is not None)
    try:
        place = os.readlink(f"/proc/{word}/cwd")
        return any(is_inside(place, root) for root in where.roots)
    except OSError as error:
        return isinstance(error, FileNotFoundError) and os.path.isdir("/proc/self")


def verb_of(command: Command) -> tuple[str, ...]:
    """Return the verb of `research` that a command calls, with what follows it; () for other commands."""
    is_module = command.name.startswith("python") and command.words[1:3] == ("-m", "research")
    return command.operands[is_module:] if is_module or command.name == "research" else ()


def refuse_verbs(command: Command, where: Where) -> str | None:
    """Refuse the verbs of `research` that are a person's, and to a driven agent those that are its driver's."""
    verb, then = (*verb_of(command), "", "")[:2]
    if where.guarded and verb in ("decide", "import"):
        return (
            f"`research {verb}` is a person's: it overrules what was measured. Type `uv run research settle` to "
            "carry the lab's verdict out, or `uv run research replicate` to measure again."
        )
    if where.guarded and (verb, then) == ("autonomy", "on"):
        return "Only the person turns autonomy on. Go on with the order that you have, or end your turn."
    if where.driven and verb in ("settle", "replicate", "night"):
        return "The driver does that. Edit train.py, commit it once, and end your turn."
    return None
