"""The policy: a command line or a patch in, a refusal with what to do instead out, or nothing.

A string policy is never complete, and this one need not be: what slips through is caught by the runner's preflight,
which looks at content. It must be right about what people really type, in both directions.
"""

from __future__ import annotations

import os

from research.agents.policy import git_rules, launch_rules, limit_rules
from research.agents.policy.effects import DELETE, READ, WRITE, Effect, of_program, of_redirects, plain_words
from research.agents.policy.protected import (
    SECRET,
    Where,
    area_of,
    area_of_unknown,
    areas_under,
    fits_a_secret,
    is_secret,
    named_under,
    refusal,
)
from research.agents.shell.evaluate import UNKNOWN, Act, Walk
from research.agents.shell.wrappers import SHELLS, detached_script, name_of, parameters_of, peel, script_of

_TEMPORARY = ("/tmp", "/var/tmp", "/private/tmp", "/dev/shm")
_PATCH_MARKS = ("*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: ")
_CODE = {"perl": "-eE", "ruby": "-e", "node": "-ep", "nodejs": "-ep", "php": "-r", "lua": "-e", "awk": "", "gawk": ""}
_READERS = frozenset({
    "grep", "egrep", "fgrep", "rg", "wc", "cat", "head", "tail", "less", "ls", "stat", "file", "du", "diff", "cut",
    "md5sum", "sha256sum", "basename", "dirname", "echo",
})  # fmt: skip
"""What may be done to any files but those with audit scores, so that nobody need look which there are."""
_NOTABLE = (
    "prepare", "research", "scripts", "codex", "pyproject", "results", "cache", "argv", "subprocess", "system",
    "popen", "spawn", "exec", "eval", "runpy", "run_path", "kill", "remove", "unlink", "rmdir", "rmtree", "rename",
    "move", "copy", "link", "glob", "iterdir", "walk", "listdir", "scandir", "input", "chdir", "import_module",
    "__import__", "join", "format", "chr(", "decode", "' +", '" +', "+ '", '+ "', "f'", 'f"', "~", "$",
)  # fmt: skip
"""Python code without any of these can't do what is refused: parsing it would take as long as all the rest."""
_AWAY = (
    "Files outside this repository and the temporary folders are not yours to delete. Name the exact files to the "
    "person if they are in the way; scratch files belong under /tmp."
)
_TOP = "That would delete the repository itself. Name the files that you made: rm FILE, or git clean -fd."


def check_command(command: str, cwd: str, where: Where, environment: dict[str, str]) -> str | None:
    """Judges a command line.

    Args:
        command: What would be given to a shell.
        cwd: Where.
        where: The checkout.
        environment: Variables of the shell, as far as known.

    Returns:
        Why it is refused and what to do instead, or None.
    """
    walk = Walk(lambda act, walk: _judge(act, walk, where), cwd, where.root, environment)
    return walk.run(command)


def check_patch(patch: str, cwd: str, where: Where) -> str | None:
    """Judges the text that the apply_patch tool was given."""
    walk = Walk(lambda act, walk: None, cwd, where.root, {})
    return _patch(patch, walk, where)


def patch_paths(patch: str) -> list[str]:
    """The files that a patch names, in order."""
    return [
        line[len(mark) :].strip()
        for line in patch.splitlines()
        for mark in _PATCH_MARKS
        if line.lstrip().startswith(mark)
        for line in (line.lstrip(),)
    ]


def _patch(patch: str, walk: Walk, where: Where) -> str | None:
    for word in patch_paths(patch):
        if found := _effect(Effect(WRITE, word), walk, where):
            return found
    return None


def _judge(act: Act, walk: Walk, where: Where) -> str | None:
    """One command of a line; what it runs inside is judged too."""
    for effect in of_redirects(act):
        if (effect.how != READ or act.argv) and (found := _effect(effect, walk, where)):
            return found
    if not act.argv:
        return None
    if name_of(act.argv) == "uv" and (found := limit_rules.refused(act, act.argv, where)):
        return found
    argv, wrappers = peel(act.argv)
    inner = act.like(argv)
    if act.pipes and name_of(argv) in ("find", "ls", "git"):
        walk.listing = _listed(inner)
    if not argv:
        return None
    if argv[0] == "read" and act.piped and act.stdin is None and walk.listing:
        found_by = [named_under(walk.path(start), walk.listing[1], where) for start in walk.listing[0]]
        for variable in argv[1:]:
            walk.variables[variable] = [path for paths in found_by for path in paths.values()] or [UNKNOWN]
    fetched, walk.fetched = walk.fetched, act.pipes and name_of(argv) in ("curl", "wget")
    if fetched and name_of(argv) in SHELLS and act.stdin is None:
        return limit_rules.INSTALL
    found = limit_rules.refused(inner, argv, where) or launch_rules.refused(inner, argv, wrappers, walk, where)
    if found:
        return found
    if {"xargs", "parallel"} & set(wrappers) and (found := _fed(inner, walk, where)):
        return found
    name = name_of(argv)
    if name in ("apply_patch", "applypatch"):
        return _patch("\n".join([*argv[1:], act.stdin or ""]), walk, where)
    if name == "git":
        return _git(inner, walk, where)
    if name == "find":
        return _find(inner, walk, where)
    script = detached_script(inner)
    if script is not None:
        return walk.apart(script, background=True)
    script = script_of(inner, walk)
    if script is not None:
        if name in ("eval", "source", ".") and walk.depth < 10:
            return walk.run(script)
        return walk.apart(script, act.background, parameters_of(inner))
    if found := _inline(inner, walk, where):
        return found
    for effect in of_program(inner, walk):
        if found := _effect(effect, walk, where):
            return found
    return None


def _effect(effect: Effect, walk: Walk, where: Where) -> str | None:
    """One file that a command touches."""
    if UNKNOWN in effect.word:
        area = area_of_unknown(effect.word, where) if effect.how != READ else None
        if area:
            return refusal(area, where)
        if effect.how == DELETE and effect.deep and effect.word.startswith(UNKNOWN):
            return _unknown_delete(effect.word)
        return None
    path = walk.path(effect.word)
    if path is None:
        return None
    if effect.how == READ:
        if is_secret(path, where, walk.links):
            return SECRET
        inside = effect.deep and area_of(path, where, walk.links) == "results" and os.path.isdir(path)
        return SECRET if inside or (effect.deep and _holds_store(path, where)) else None
    if area := area_of(path, where, walk.links):
        return refusal(area, where)
    if effect.how == DELETE and (found := _delete(path, walk, where)):
        return found
    if effect.deep and (area := areas_under(path, where, walk.links, effect.how == DELETE)):
        return f"This covers {area}. {refusal(area, where)}"
    return None


def _holds_store(path: str, where: Where) -> bool:
    return any(path == root for root in where.roots) and os.path.isdir(f"{path}/results")


def _unknown_delete(word: str) -> str | None:
    """rm -r "$X/..." with nothing known of X."""
    if word.strip(UNKNOWN) in ("", "/"):
        return None if word == UNKNOWN else f"What this deletes depends on a variable that may be empty. {_AWAY}"
    return None


def _delete(path: str, walk: Walk, where: Where) -> str | None:
    """Deletes are for the work tree and the temporary folders."""
    real = os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path)
    for root in where.roots:
        if path == root or root.startswith(path.rstrip("/") + "/") or real == root:
            return _TOP if path == root else _AWAY
        if path == f"{root}/.git" or (path.startswith(f"{root}/.git/") and not path.endswith("index.lock")):
            return "The repository's history is in .git. Leave it alone; git has commands for what is to change."
    if any(place.startswith(root + "/") for place in (path, real) for root in where.roots):
        return None
    home = walk.environment.get("HOME", "").rstrip("/")
    temporary: tuple[str, ...] = (*_TEMPORARY, walk.environment.get("TMPDIR", "").rstrip("/") or "/tmp")
    if home and (path == home or path.startswith(home + "/") or home.startswith(path + "/")):
        temporary = tuple(place for place in temporary if place.startswith(home + "/"))
    return None if any(place.startswith(root + "/") for place in (path, real) for root in temporary) else _AWAY


def _git(act: Act, walk: Walk, where: Where) -> str | None:
    if found := git_rules.refused(act, walk, where):
        return found
    for effect in git_rules.effects(act, walk):
        if any(char in effect.word for char in "*?["):  # git reads patterns of its own
            folder, _, pattern = effect.word.rpartition("/")
            if area := next(iter(named_under(walk.path(folder or "."), pattern, where)), ""):
                return refusal(area, where)
            continue
        if effect.how == DELETE:
            effect.how = WRITE  # git only touches what it tracks
        if found := _effect(effect, walk, where):
            return found
    git_rules.note_branch(act, walk)
    return None


def _find(act: Act, walk: Walk, where: Where) -> str | None:
    """find with -delete, -exec and the like."""
    argv = act.argv
    starts, pattern = _listed(act)
    runs = next((i for i, word in enumerate(argv) if word in ("-exec", "-execdir", "-ok", "-okdir")), None)
    if "-delete" not in argv and runs is None:
        return None
    command = [] if runs is None else [word for word in argv[runs + 1 :] if word not in (";", "+", "\\;")]
    return _over_found(command, starts, pattern, act, walk, where)


def _listed(act: Act) -> tuple[list[str], str]:
    """The folders that find, ls or git ls-files would list, and the pattern of names."""
    words = act.argv[1:]
    if name_of(act.argv) != "find":
        places = [word for word in words if not word.startswith("-") and word not in ("ls-files", "grep")]
        if len(places) == 1 and any(char in places[0] for char in "*?["):
            folder, _, pattern = places[0].rpartition("/")
            return [folder or "."], pattern
        return places or ["."], "*"
    first = next((place for place, word in enumerate(words) if word.startswith(("-", "(", "!"))), len(words))
    named = [words[i + 1] for i, w in enumerate(words[:-1]) if w in ("-name", "-iname", "-path", "-wholename")]
    pattern = (named or ["*"])[0].rsplit("/", 1)[-1]
    if "-iname" in words:
        pattern = "".join(f"[{char.lower()}{char.upper()}]" if char.isalpha() else char for char in pattern)
    return words[:first] or ["."], pattern


def _over_found(command: list[str], starts: list[str], pattern: str, act: Act, walk: Walk, where: Where) -> str | None:
    """A command over files that only running would list: judged by what could be among them."""
    if name_of(peel(command)[0]) in _READERS and not fits_a_secret(pattern):
        return None
    for start in starts:
        path = walk.path(start)
        if not command:
            if area := next(iter(named_under(path, pattern, where)), ""):
                return refusal(area, where)
            if path and (found := _delete(path + "/x", walk, where)):
                return found
            continue
        for name in (*named_under(path, pattern, where).values(), f"{start}/{pattern}"):
            words = [word.replace("{}", name) for word in command]
            if found := _judge(act.like(words if "{}" in " ".join(command) else [*words, name]), walk, where):
                return found
    return None


def _fed(act: Act, walk: Walk, where: Where) -> str | None:
    """xargs: the words that come through the pipe, where they are known."""
    if act.stdin is not None:
        return _over_words(act, act.stdin.split(), walk, where)
    starts, pattern = walk.listing or (["."], "*")
    if walk.listing is None and all(effect.how == READ for effect in of_program(act.like([*act.argv, "./*"]), walk)):
        return None
    return _over_found(act.argv, starts, pattern, act, walk, where)


def _over_words(act: Act, fed: list[str], walk: Walk, where: Where) -> str | None:
    if "{}" not in " ".join(act.argv):
        return _judge(act.like([*act.argv, *fed]), walk, where)
    for name in fed:
        if found := _judge(act.like([word.replace("{}", name) for word in act.argv]), walk, where):
            return found
    return None


def _inline(act: Act, walk: Walk, where: Where) -> str | None:
    """Code on the command line, from a heredoc, or in a file outside the harness."""
    name = name_of(act.argv)
    if name.startswith(("python", "pypy", "ipython")):
        text = _python_text(act, walk, where)
        if text is None or not any(word in text for word in _NOTABLE):
            return None
        from research.agents.policy.code import of_python

        return _found(of_python(text, act.argv), act, walk, where)
    if name not in _CODE:
        return None
    texts = [act.stdin] if act.stdin and not plain_words(act.argv) else []
    for place, word in enumerate(act.argv[:-1]):
        if word[:1] == "-" and word[-1:] in _CODE[name] and len(word) > 1:
            texts.append(act.argv[place + 1])
    if name in ("awk", "gawk"):
        texts += plain_words(act.argv)[:1]
    from research.agents.policy.code import of_text

    for text in texts:
        if text and (found := _found(of_text(text), act, walk, where)):
            return found
    return None


def _python_text(act: Act, walk: Walk, where: Where) -> str | None:
    words = act.argv
    for place, word in enumerate(words[1:], 1):
        if word in ("-m",):
            return None
        if word[:1] == "-" and word[:2] != "--" and word.endswith("c") and place + 1 < len(words):
            return words[place + 1]
        if word == "-":
            return act.stdin
        if not word.startswith("-") and words[place - 1] not in ("-W", "-X"):
            path = walk.path(word)
            ours = path is None or area_of(path, where, {}) is not None or os.path.basename(path) == "train.py"
            return None if ours or any(f"{root}/tests/" in (path or "") for root in where.roots) else walk.text_of(word)
    return act.stdin


def _found(found: object, act: Act, walk: Walk, where: Where) -> str | None:
    from research.agents.policy.code import Found

    assert isinstance(found, Found)
    if found.modules:
        return (
            f"{found.modules[0]} is the control plane's own: its memory holds audit scores. Use the verbs: "
            "`uv run research summary --json`, `archive`, `last-review`, `parse-run`."
        )
    for effect in found.effects:
        if reason := _effect(effect, walk, where):
            return reason
    for command in found.commands:
        if isinstance(command, list):
            reason = _judge(act.like(list(command)), walk, where)
        else:
            reason = walk.apart(command.replace(UNKNOWN, "_"), background=act.background)
        if reason:
            return reason
    return None
