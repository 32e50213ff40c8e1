"""Commands that only run another command: what they run, as words or as a script."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.shell.evaluate import Act, Walk

SHELLS = frozenset({"bash", "sh", "dash", "zsh", "ksh", "ash", "fish"})

_PEELED: dict[str, tuple[str, int]] = {
    "sudo": ("-u -g -h -p -C -T -U -D -R -r -t", 0),
    "doas": ("-u -C", 0),
    "command": ("", 0),
    "builtin": ("", 0),
    "exec": ("-a", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "time": ("-f -o", 0),
    "nice": ("-n", 0),
    "ionice": ("-c -n -p", 0),
    "chrt": ("-T -P -D", 1),
    "taskset": ("", 1),
    "numactl": ("-N -m -C -i -p", 0),
    "timeout": ("-k -s", 1),
    "stdbuf": ("-i -o -e", 0),
    "unbuffer": ("", 0),
    "chronic": ("", 0),
    "caffeinate": ("-t -w", 0),
    "strace": ("-o -e -p -s", 0),
    "busybox": ("", 0),
    "xargs": ("-I -n -P -L -d -E -s -a --max-args --max-procs --delimiter --arg-file", 0),
    "parallel": ("-j -I -a --jobs", 0),
    "watch": ("-n --interval", 0),
    "chroot": ("", 1),
    "unshare": ("", 0),
    "flock": ("-w -E", 1),
}
"""Options that take the next word, and words before the command."""

_UV_RUN = frozenset({
    "--with", "--with-editable", "--with-requirements", "--extra", "--group", "--only-group", "--no-group",
    "--env-file", "--python", "-p", "--directory", "--project", "--index", "--default-index", "--index-url",
    "--cache-dir", "--package", "--config-file", "-w", "--color",
})  # fmt: skip

_TMUX_VERBS = frozenset({"new", "new-session", "new-window", "neww", "split-window", "respawn-pane", "send-keys"})
DETACHING = frozenset({"nohup", "setsid"})


def name_of(argv: list[str]) -> str:
    """The command's name without its folder."""
    return argv[0].rsplit("/", 1)[-1] if argv else ""


def peel(argv: list[str]) -> tuple[list[str], list[str]]:
    """Takes wrappers off; returns what is run, and the wrappers' names in order."""
    names: list[str] = []
    while argv:
        name = name_of(argv)
        inner = _inner(name, argv)
        if inner is None:
            return argv, names
        names.append(name)
        if not inner:
            return [], names
        argv = inner
    return argv, names


def _inner(name: str, argv: list[str]) -> list[str] | None:
    if name == "env":
        return _after_env(argv)
    if name in _PEELED:
        options, positional = _PEELED[name]
        return _after_options(argv, options.split(), positional)
    if name == "uv" and (place := _subcommand(argv, "run")) is not None:
        words = argv[place:]
        if "-m" in words or "--module" in words:
            return ["python", "-m", *words[words.index("-m" if "-m" in words else "--module") + 1 :]]
        return _after_options(words, _UV_RUN, 0)
    if name in ("poetry", "pipenv", "pdm", "hatch") and argv[1:2] == ["run"]:
        return argv[2:]
    if name in ("conda", "mamba", "micromamba") and argv[1:2] == ["run"]:
        return _after_options(argv[1:], ("-n", "-p", "--name", "--prefix"), 0)
    return None


def _subcommand(argv: list[str], verb: str) -> int | None:
    """Place of a verb that only options stand in front of."""
    for place, word in enumerate(argv[1:], 1):
        if word == verb:
            return place
        if not word.startswith("-") and argv[place - 1] not in _UV_RUN:
            return None
    return None


def _after_options(argv: list[str], valued: list[str] | tuple[str, ...] | frozenset[str], positional: int) -> list[str]:
    place = 1
    while place < len(argv) and argv[place].startswith("-"):
        word = argv[place]
        place += 1
        if word == "--":
            break
        if word in valued:
            place += 1
    return argv[place + positional :]


def _after_env(argv: list[str]) -> list[str]:
    place = 1
    while place < len(argv):
        word = argv[place]
        if word in ("-u", "--unset", "-C", "--chdir"):
            place += 2
        elif word in ("-S", "--split-string"):
            return [*" ".join(argv[place + 1 : place + 2]).split(), *argv[place + 2 :]]
        elif word.startswith("-") or "=" in word:
            place += 1
        else:
            break
    return argv[place:]


def script_of(act: Act, walk: Walk) -> str | None:
    """The shell script that a command would run: of bash -c, eval, source, a script file, or its input."""
    name, arguments = name_of(act.argv), act.argv[1:]
    if name == "eval":
        return " ".join(arguments)
    if name in ("source", "."):
        return walk.text_of(arguments[0]) if arguments else None
    if name == "trap" and arguments:
        return arguments[0]
    if name == "su" and "-c" in arguments[:-1]:
        return arguments[arguments.index("-c") + 1]
    if name == "script" and "-c" in arguments[:-1]:
        return arguments[arguments.index("-c") + 1]
    if name in SHELLS:
        return _shell_script(act, walk)
    if name in ("make", "gmake"):
        return _recipes(act, walk)
    path = walk.path(act.argv[0]) if act.argv and "/" in act.argv[0] else None
    text = walk.text_of(act.argv[0]) if path and not path.endswith(".py") else None
    if not text or "\0" in text:
        return None
    first = text[: text.find("\n")] if text.startswith("#!") else ""
    of_a_shell = any(shell in first for shell in ("sh", "bash", "zsh"))
    return text if of_a_shell or (path in walk.files and not first) else None


def parameters_of(act: Act) -> list[str]:
    """$0, $1 ... of the script that a command would run."""
    if name_of(act.argv) not in SHELLS:
        return act.argv[1:] if name_of(act.argv) in ("source", ".") else act.argv
    place = 1
    while place < len(act.argv) and act.argv[place].startswith("-") and act.argv[place] != "-":
        word = act.argv[place]
        if not word.startswith("--") and "c" in word:
            return act.argv[place + 2 :]
        place += 2 if word in ("-o", "-O", "--rcfile", "--init-file") else 1
    return act.argv[place:]


def _shell_script(act: Act, walk: Walk) -> str | None:
    place = 1
    words = act.argv
    while place < len(words) and words[place].startswith("-") and words[place] != "-":
        word = words[place]
        if not word.startswith("--") and "c" in word:
            return words[place + 1] if place + 1 < len(words) else None
        place += 2 if word in ("-o", "-O", "--rcfile", "--init-file") else 1
    if place < len(words) and words[place] not in ("-", "/dev/stdin"):
        return walk.text_of(words[place])
    return act.stdin


def _recipes(act: Act, walk: Walk) -> str | None:
    """The recipes of a makefile that comes with the command itself; which ones of a file are run is not known here."""
    words = act.argv
    glued = [word[2:] for word in words if word.startswith("-f") and len(word) > 2]
    named = [word.split("=", 1)[1] for word in words if word.startswith(("--file=", "--makefile="))]
    behind = [words[place + 1] for place, word in enumerate(words[:-1]) if word in ("-f", "--file", "--makefile")]
    texts = []
    for name in (*glued, *named, *behind):
        if name in ("-", "/dev/stdin"):
            texts.append(act.stdin or "")
        elif (path := walk.path(name)) is not None and path in walk.files:
            texts.append(walk.files[path])
    lines = [line for text in texts for line in text.split("\n")]
    commands = [line if line.startswith("\t") else line.partition(";")[2] for line in lines]
    return "\n".join(line.strip().lstrip("@-+ ").replace("$$", "$") for line in commands) if texts else None


def detached_script(act: Act) -> str | None:
    """What tmux, screen, at or batch would run behind our back."""
    argv, name = act.argv, name_of(act.argv)
    if name in ("at", "batch"):
        return act.stdin
    if name == "tmux" and _TMUX_VERBS & set(argv):
        valued: tuple[str, ...] = ("-s", "-n", "-t", "-c", "-x", "-y", "-F")
    elif name == "screen" and any(word.startswith("-d") or "d" in word[1:] for word in argv if word[:1] == "-"):
        valued = ("-S", "-L", "-t", "-c", "-p", "-X")
    else:
        return None
    place = 1
    while place < len(argv) and (argv[place].startswith("-") or argv[place] in _TMUX_VERBS):
        word = argv[place]
        place += 2 if word in valued or (name == "screen" and word[-1:] == "S") else 1
    words = [word for word in argv[place:] if word not in ("Enter", "C-m")]
    return words[0] if len(words) == 1 else " ".join(f"'{word}'" if " " in word else word for word in words)
