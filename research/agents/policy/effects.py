"""Which files a command would write, delete or read, by what its program does with its words."""

from __future__ import annotations

from research.agents.shell.wrappers import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.shell.evaluate import Act, Walk

WRITE, DELETE, READ = "write", "delete", "read"

_ALL_WRITTEN = frozenset({
    "truncate", "shred", "touch", "mkdir", "rmdir", "chmod", "chown", "chgrp", "chattr", "setfattr", "tee",
    "sponge", "ed", "ex", "vi", "vim", "nvim", "nano", "emacs", "pico", "micro", "gzip", "gunzip", "bzip2",
    "bunzip2", "xz", "unxz", "zstd", "lz4", "dos2unix", "unix2dos", "mkfifo", "mknod", "fallocate",
})  # fmt: skip
_DELETED = frozenset({"rm", "unlink", "shred", "srm", "trash", "trash-put", "rmdir"})
_LAST_WRITTEN = frozenset({"cp", "install", "rsync", "scp", "ln", "link", "symlink"})
_SILENT = frozenset({
    "ls", "stat", "echo", "printf", "test", "[", ":", "true", "false", "cd", "pushd", "popd", "file", "wc", "du",
    "df", "realpath", "readlink", "basename", "dirname", "touch", "mkdir", "chmod", "which", "type", "exists",
    "sleep", "wait", "kill", "export", "git",
})  # fmt: skip
"""Programs that show nothing of a file's content, whatever they are given."""
_IN_PLACE_FORMATTERS = frozenset({"black", "isort", "autopep8", "yapf", "pyupgrade", "autoflake", "2to3"})
_VALUED: dict[str, frozenset[str]] = {
    "truncate": frozenset({"-s", "--size", "-r"}),
    "chmod": frozenset({"--reference"}),
    "install": frozenset({"-m", "-o", "-g", "-t", "-S"}),
    "cp": frozenset({"-t", "--target-directory", "-S"}),
    "mv": frozenset({"-t", "--target-directory", "-S"}),
    "ln": frozenset({"-t", "--target-directory", "-S"}),
    "rsync": frozenset({"-e", "--exclude", "--include", "-f", "--filter"}),
    "touch": frozenset({"-d", "-r", "-t"}),
    "mkdir": frozenset({"-m"}),
}


class Effect:
    """One file that a command touches: how, the word that names it, and whether everything below it is meant."""

    __slots__ = ("deep", "how", "word")

    def __init__(self, how: str, word: str, deep: bool = False) -> None:
        self.how, self.word, self.deep = how, word, deep


def plain_words(argv: list[str], valued: frozenset[str] = frozenset()) -> list[str]:
    """The words after the name that are no options, nor values of these options."""
    found, place, options = [], 1, True
    while place < len(argv):
        word = argv[place]
        place += 1
        if options and word == "--":
            options = False
        elif options and word.startswith("-") and word != "-":
            place += 1 if word in valued else 0
        else:
            found.append(word)
    return found


def has_flag(argv: list[str], short: str, *long: str) -> bool:
    """Whether a short option (alone or among others) or a long one is given."""
    for word in argv[1:]:
        if word == "--":
            return False
        if word.startswith("--"):
            if word.split("=")[0] in long:
                return True
        elif word.startswith("-") and any(char in word[1:] for char in short):
            return True
    return False


def value_of(argv: list[str], *options: str) -> str | None:
    """The value of an option, as the next word or after "="."""
    for place, word in enumerate(argv):
        for option in options:
            if word == option and place + 1 < len(argv):
                return argv[place + 1]
            if option.startswith("--") and word.startswith(option + "="):
                return word[len(option) + 1 :]
            if not option.startswith("--") and word.startswith(option) and len(word) > len(option) and len(option) == 2:
                return word[len(option) :]
    return None


def of_redirects(act: Act) -> list[Effect]:
    """What redirections write and read."""
    found = []
    for _, op, target, _ in act.redirects:
        if op in (">", ">>", ">|", "<>", "&>", "&>>") or (op == ">&" and not target.rstrip("-").isdigit()):
            found.append(Effect(WRITE, target))
        elif op == "<":
            found.append(Effect(READ, target))
    return found


def of_program(act: Act, walk: Walk) -> list[Effect]:
    """What a program does with its words; one that is not known here only reads them."""
    argv = act.argv
    name = name_of(argv)
    if not argv:
        return []
    words = plain_words(argv, _VALUED.get(name, frozenset()))
    if name in ("mv", "rename"):
        return _moved(argv, words)
    if name in _DELETED:
        return [Effect(DELETE, word, True) for word in words]
    if name in _LAST_WRITTEN:
        return _copied(argv, words, name)
    if name in _ALL_WRITTEN:
        if name in ("vi", "vim", "nvim") and has_flag(argv, "R"):
            return [Effect(READ, word) for word in words]
        skip = 1 if name in ("chmod", "chown", "chgrp", "chattr") else 0
        return [Effect(WRITE, word, has_flag(argv, "R", "--recursive")) for word in words[skip:]]
    if name == "dd":
        found = [Effect(WRITE, word[3:]) for word in argv[1:] if word.startswith("of=")]
        return found + [Effect(READ, word[3:]) for word in argv[1:] if word.startswith("if=")]
    special = _SPECIAL.get(name)
    if special is not None:
        return special(act, walk)
    if name in _IN_PLACE_FORMATTERS and not has_flag(argv, "", "--check", "--diff", "--check-only"):
        return [Effect(WRITE, word, True) for word in words]
    return [] if name in _SILENT else [Effect(READ, word) for word in words]


def _moved(argv: list[str], words: list[str]) -> list[Effect]:
    target = value_of(argv, "-t", "--target-directory")
    sources = words if target else words[:-1]
    return [*(Effect(DELETE, word, True) for word in sources), *_into(target or (words[-1:] or [""])[0], sources)]


def _copied(argv: list[str], words: list[str], name: str) -> list[Effect]:
    target = value_of(argv, "-t", "--target-directory")
    sources = words if target else words[:-1]
    if name == "ln" and len(words) == 1 and not target:
        return [Effect(WRITE, words[0].rsplit("/", 1)[-1])]
    reads = [] if name == "ln" else [Effect(READ, word, True) for word in sources]
    if name == "install" and has_flag(argv, "d"):
        return [Effect(WRITE, word) for word in words]
    if name == "rsync" and any(word.startswith("--delete") for word in argv):
        return [*reads, *(Effect(WRITE, word, True) for word in words[-1:])]
    return [*reads, *_into(target or (words[-1:] or [""])[0], sources)]


def _into(target: str, sources: list[str]) -> list[Effect]:
    """A target may be a folder that the sources land in."""
    names = [word.rstrip("/").rsplit("/", 1)[-1] for word in sources]
    return [Effect(WRITE, target), *(Effect(WRITE, f"{target}/{name}") for name in names)]


def _sed(act: Act, _: Walk) -> list[Effect]:
    argv = act.argv
    in_place = any(
        word.startswith("--in-place") or (word[:1] == "-" and word[:2] != "--" and "i" in word) for word in argv[1:]
    )
    words = plain_words(argv, frozenset({"-e", "-f", "--expression", "--file"}))
    given = any(word in ("-e", "-f") or word.startswith(("--expression", "--file")) for word in argv)
    script = [] if given else words[:1]
    files = words if given else words[1:]
    found = [Effect(WRITE if in_place else READ, word) for word in files]
    for text in [*script, value_of(argv, "-e", "--expression") or ""]:
        for part in text.replace(";", "\n").split("\n"):
            before, sign, after = part.rpartition("w ")
            if sign and (not before or before[-1] in "/|,g0123456789$pI!} "):
                found.append(Effect(WRITE, after.strip()))
    return found


def _perl_like(act: Act, _: Walk) -> list[Effect]:
    argv = act.argv
    clusters = [word for word in argv[1:] if word[:1] == "-" and word[:2] != "--"]
    in_place = any("i" in word.split("e")[0] for word in clusters) or any("inplace" in word for word in argv)
    words = plain_words(argv, frozenset({"-e", "-E", "-I", "-M", "-f", "-v", "-F", "-i"}))
    glued = clusters and clusters[-1] not in ("-e", "-E") and clusters[-1].endswith(("e", "E"))
    if glued or not any(word.endswith(("e", "E")) for word in clusters):
        words = words[1:]
    return [Effect(WRITE if in_place else READ, word) for word in words]


def _patch(act: Act, walk: Walk) -> list[Effect]:
    """patch and git apply: the files that the patch itself names."""
    argv = act.argv
    words = plain_words(argv, frozenset({"-i", "-d", "-p", "-o"}))
    found = [Effect(WRITE, words[0])] if name_of(argv) == "patch" and words else []
    text = act.stdin or walk.text_of(value_of(argv, "-i", "--input") or "") or ""
    text += "\n".join(walk.text_of(word) or "" for word in words)
    return found + [Effect(WRITE, path) for path in patched(text)]


def patched(text: str) -> list[str]:
    """The files that a diff changes, by its headers."""
    found = []
    for line in text.split("\n"):
        for mark in ("+++ ", "--- ", "rename to ", "rename from ", "copy to "):
            if line.startswith(mark):
                path = line[len(mark) :].split("\t")[0].strip()
                if path != "/dev/null":
                    found.append(path[2:] if path[:2] in ("a/", "b/") else path)
    return found


def _curl(act: Act, _: Walk) -> list[Effect]:
    argv = act.argv
    found = [Effect(READ, word.split("@", 1)[1].split(";")[0]) for word in argv if "@" in word and "://" not in word]
    options = ("-o", "--output") if name_of(argv) == "curl" else ("-O", "--output-document")
    target = value_of(argv, *options)
    folder = value_of(argv, "-P", "--directory-prefix", "--output-dir") or "."
    by_name = has_flag(argv, "O", "--remote-name") == (name_of(argv) == "curl")
    if target is None and by_name:
        urls = [word for word in argv[1:] if "://" in word]
        found += [Effect(WRITE, f"{folder}/{url.split('?')[0].rsplit('/', 1)[-1]}") for url in urls]
    upload = value_of(argv, "-T", "--upload-file")
    found += [Effect(WRITE, target)] if target else []
    return found + ([Effect(READ, upload)] if upload else [])


def _archive(act: Act, walk: Walk) -> list[Effect]:
    argv = act.argv
    name = name_of(argv)
    folder = value_of(argv, "-C", "--directory") if name in ("tar", "bsdtar") else value_of(argv, "-d")
    lists = name == "unzip" and has_flag(argv, "lptvZz")
    extracts = not lists and (name == "unzip" or any("x" in word for word in argv[1:2]) or "--extract" in argv)
    words = plain_words(argv, frozenset({"-C", "-d"}))
    if name in ("tar", "bsdtar"):
        told = [word for word in argv[1:2] if not word.startswith("-")]
        words = [word for word in words if word != (value_of(argv, "-f", "--file") or "") and word not in told]
        words = ["", *words[1:]] if told and "f" in told[0] else ["", *_members(argv, words)]
    if name == "cpio":
        extracts, words = has_flag(argv, "i", "--extract"), ["", *words]
    if extracts:
        inside = f"{walk.path(folder or '.')}/".startswith(f"{walk.root}/")
        whole = Effect(WRITE, folder or ".", inside and not words[1:])
        return [whole, *(Effect(WRITE, f"{folder or '.'}/{word}") for word in words[1:])]
    return [Effect(READ, word, True) for word in words]


def _members(argv: list[str], words: list[str]) -> list[str]:
    """What tar is to take out, behind the archive's own name in options such as -xzf NAME."""
    for place, word in enumerate(argv[:-1]):
        if word[:1] == "-" and word[:2] != "--" and word.endswith("f"):
            return [each for each in words if each != argv[place + 1]]
    return words


def _output_option(act: Act, _: Walk) -> list[Effect]:
    target = value_of(act.argv, "-o", "--output")
    found = [Effect(WRITE, target)] if target else []
    return found + [Effect(READ, word) for word in plain_words(act.argv, frozenset({"-o", "--output"}))]


def _ruff(act: Act, _: Walk) -> list[Effect]:
    argv = act.argv
    words = plain_words(argv, frozenset({"--config", "--select", "--ignore", "--line-length"}))
    writes = "--fix" in argv or (words[:1] == ["format"] and not has_flag(argv, "", "--check", "--diff"))
    return [Effect(WRITE, word, True) for word in (words[1:] or ["."])] if writes else []


def _grep(act: Act, _: Walk) -> list[Effect]:
    argv = act.argv
    valued = frozenset({"-e", "-f", "-m", "-A", "-B", "-C", "-g", "--include", "--exclude", "--exclude-dir", "-t"})
    words = plain_words(argv, valued)
    pattern = value_of(argv, "-e", "--regexp")
    files = words if pattern is not None else words[1:]
    pattern = pattern if pattern is not None else (words[:1] or [""])[0]
    recursive = name_of(argv) in ("rg", "ag", "ack") or has_flag(argv, "rR", "--recursive")
    if not recursive or not _finds_audit(pattern) or any("exclude-dir" in word for word in argv):
        return [Effect(READ, word) for word in files]
    deep = name_of(argv) == "grep" or bool(files)  # rg and ag leave ignored folders out unless they are named
    return [Effect(READ, word, deep) for word in (files or ["."])]


def _finds_audit(pattern: str) -> bool:
    """Whether a pattern would bring an audit score to light."""
    line = '"audit_bpb": 0.987654, "audit_bpb_exact"'
    if not any(char in pattern for char in "\\.*+?[](){}^$|"):
        return pattern.casefold() in line
    import re

    try:
        return re.search(pattern.replace("\\|", "|"), line, re.I) is not None
    except re.error:
        return "audit" in pattern


_SPECIAL = {
    "sed": _sed, "gsed": _sed, "perl": _perl_like, "ruby": _perl_like, "awk": _perl_like, "gawk": _perl_like,
    "mawk": _perl_like, "patch": _patch, "curl": _curl, "wget": _curl, "tar": _archive, "bsdtar": _archive,
    "unzip": _archive, "cpio": _archive, "sort": _output_option, "split": _output_option, "gcc": _output_option,
    "ruff": _ruff,
    "grep": _grep, "egrep": _grep, "fgrep": _grep, "rg": _grep, "ag": _grep, "ack": _grep,
}  # fmt: skip
