"""What inline code (python -c, a heredoc, a script under /tmp; perl, ruby, node by their texts) would do to files.

Imported only when a command runs such code, since reading syntax trees is slow to load.
"""

from __future__ import annotations

import ast

from research.agents.policy.effects import DELETE, READ, WRITE, Effect
from research.agents.shell.evaluate import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_WRITERS = frozenset({"write_text", "write_bytes", "touch", "mkdir", "symlink_to", "hardlink_to", "chmod"})
_DELETERS = frozenset({"unlink", "rmdir", "rename", "replace"})
_FIRST = {
    "remove": DELETE, "unlink": DELETE, "rmdir": DELETE, "removedirs": DELETE, "rmtree": DELETE, "truncate": WRITE,
    "mkdir": WRITE, "makedirs": WRITE, "chmod": WRITE, "mknod": WRITE,
}  # fmt: skip
_BOTH = frozenset({"rename", "replace", "renames", "move"})
_SECOND = frozenset({"copy", "copy2", "copyfile", "copytree", "copymode", "symlink", "link"})
_SHELLS = frozenset({"system", "popen", "run", "call", "check_call", "check_output", "Popen", "getoutput"})
_RUNNING = frozenset({"exec", "run_path", "chdir", "kill", "killpg"})
_STORE_MODULES = (
    "research.store", "research.lab.lab", "research.lab.apply_verdict", "research.lab.import_run",
    "research.lab.launch",
    "research.lab.replicate", "research.agents",
)  # fmt: skip


class Found:
    """What code would do: files, shell commands as text or words, and modules of the memory that it would use."""

    __slots__ = ("commands", "effects", "modules", "vague")

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.commands: list[str | list[str]] = []
        self.modules: list[str] = []
        self.vague = False
        """Whether it writes something whose name only running would tell."""


def of_python(text: str, words: Sequence[str] = ()) -> Found:
    """What a Python text would do; words is the command line that it may read."""
    found = Found()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        _by_text(text, found)
        return found
    known = _Names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _call(node, known, found)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            base = getattr(node, "module", None) or ""
            names = [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
            found.modules += [name for name in names if name.startswith(_STORE_MODULES)]
    for text_ in known.strings:
        found.effects.append(Effect(READ, text_))
    if found.vague:
        found.effects += [Effect(WRITE, text_) for text_ in (*known.strings, *words[1:]) if "\n" not in text_]
    for folder in known.folders:
        inside = [Effect(e.how, f"{folder}/{e.word}", e.deep) for e in found.effects if not e.word.startswith("/")]
        found.effects += inside
    return found


def of_text(text: str) -> Found:
    """What code in another language would do, by the names and verbs in it."""
    found = Found()
    _by_text(text, found)
    return found


def _by_text(text: str, found: Found) -> None:
    import re

    names = re.findall(r"[\w./~-]*[\w~-]", text)
    verbs = r"write|unlink|rename|remove|truncate|delete|'[wa+]|\"[wa+]|>\s|print\s*>|rmtree|copy|append|\bopen\b.*>"
    writes = re.search(verbs, text) is not None
    for name in names:
        found.effects.append(Effect(READ, name))
        if writes:
            found.effects.append(Effect(WRITE, name))
    for match in re.finditer(r"(?:system|exec|execSync|spawn|popen)\s*\(?\s*(['\"`])(.*?)\1", text, re.S):
        found.commands.append(match[2])


class _Names:
    """Constants of a text: what its names stand for, every string in it, and where it would change to."""

    def __init__(self, tree: ast.AST) -> None:
        self.folders: list[str] = []
        self.imported: dict[str, tuple[str, str]] = {}
        self.values: dict[str, list[ast.expr]] = {}
        self.strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        self.strings = [text for text in self.strings if 0 < len(text) < 300 and "\n" not in text]
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._bind(target, node.value)
            elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
                self._bind(node.target, node.value)
            elif isinstance(node, (ast.For, ast.comprehension)):
                values = node.iter.elts if isinstance(node.iter, (ast.List, ast.Tuple, ast.Set)) else [node.iter]
                for value in values:
                    self._bind(node.target, value)
            elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                self._bind(node.optional_vars, node.context_expr)
            elif isinstance(node, ast.Import):
                self.imported |= {alias.asname or alias.name: (alias.name, "") for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                self.imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}

    def called(self, function: ast.expr) -> tuple[str, str]:
        """Module and name of what is called, whatever it was imported as; "" for no module."""
        name = _name(function)
        if isinstance(function, ast.Name):
            module, original = self.imported.get(name, ("", ""))
            return (module, original) if original else ("", name)
        owner = function.value if isinstance(function, ast.Attribute) else None
        if isinstance(owner, ast.Name):
            return self.imported.get(owner.id, (owner.id, ""))[0], name
        if isinstance(owner, ast.Call) and _name(owner.func) in ("__import__", "import_module") and owner.args:
            return self.texts(owner.args[0])[0], name
        return "", name

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.values.setdefault(target.id, []).append(value)
        elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
            for one, other in zip(target.elts, value.elts, strict=False):
                self._bind(one, other)

    def texts(self, node: ast.expr, depth: int = 0) -> list[str]:
        """What an expression may come to as a path or text; pieces that are unknown are UNKNOWN."""
        if depth > 8:
            return [UNKNOWN]
        if isinstance(node, ast.Constant):
            return [node.value if isinstance(node.value, str) else UNKNOWN]
        if isinstance(node, ast.Name):
            found = [text for value in self.values.get(node.id, []) for text in self.texts(value, depth + 1)]
            return found[:50] or [UNKNOWN]
        if isinstance(node, ast.JoinedStr):
            return ["".join(self.texts(value, depth + 1)[0] for value in node.values)]
        if isinstance(node, ast.FormattedValue):
            return self.texts(node.value, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Div)):
            sign = "/" if isinstance(node.op, ast.Div) else ""
            lefts, rights = self.texts(node.left, depth + 1), self.texts(node.right, depth + 1)
            return [_joined(left, right, sign) for left in lefts for right in rights][:50]
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, ast.Attribute):
            return self.texts(node.value, depth + 1) if node.attr not in ("parent", "name", "stem") else [UNKNOWN]
        return [UNKNOWN]

    def _call(self, node: ast.Call, depth: int) -> list[str]:
        name = _name(node.func)
        if name in ("Path", "PurePath", "PosixPath", "join", "joinpath", "str", "abspath", "expanduser", "fspath"):
            parts = [self.texts(argument, depth + 1)[0] for argument in node.args] or ["."]
            if name == "joinpath" and isinstance(node.func, ast.Attribute):
                parts.insert(0, self.texts(node.func.value, depth + 1)[0])
            text = parts[0]
            for part in parts[1:]:
                text = _joined(text, part, "/")
            return [text]
        if name in ("resolve", "absolute", "expanduser", "open") and isinstance(node.func, ast.Attribute):
            return self.texts(node.func.value, depth + 1)
        if name == "cwd":
            return ["."]
        return [UNKNOWN]


def _joined(left: str, right: str, sign: str) -> str:
    return right if sign and right.startswith("/") else f"{left}{sign}{right}"


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _call(node: ast.Call, known: _Names, found: Found) -> None:
    """Puts down what one call would do."""
    (module, name), arguments = known.called(node.func), node.args
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if name in _RUNNING and arguments:
        _run_inside(module, name, arguments, known, found)
    elif module == "fileinput" and arguments and any(keyword.arg == "inplace" for keyword in node.keywords):
        _add(found, WRITE, known.texts(arguments[0]))
    elif name == "open" and (owner is None or module in ("io", "os", "codecs", "gzip", "builtins")):
        if arguments and _mode(node, 1):
            _add(found, WRITE, known.texts(arguments[0]))
    elif name == "open" and owner is not None:
        if _mode(node, 0):
            _add(found, WRITE, known.texts(owner))
    elif module in ("os", "shutil") and name in _FIRST and arguments:
        _add(found, _FIRST[name], known.texts(arguments[0]), name == "rmtree")
    elif module in ("os", "shutil") and name in _BOTH and len(arguments) > 1:
        _add(found, DELETE, known.texts(arguments[0]))
        _add(found, WRITE, known.texts(arguments[1]))
    elif module in ("os", "shutil") and name in _SECOND and len(arguments) > 1:
        _add(found, READ, known.texts(arguments[0]))
        _add(found, WRITE, known.texts(arguments[1]))
    elif name in _SHELLS and arguments and module in ("os", "subprocess", ""):
        _command(arguments[0], known, found)
    elif owner is not None and name in _WRITERS and module not in ("os", "shutil"):
        _add(found, WRITE, known.texts(owner))
    elif owner is not None and name in _DELETERS and module not in ("os", "shutil") and len(arguments) <= 1:
        texts = known.texts(owner)
        if name in ("unlink", "rmdir") or _looks_like_a_path(texts):
            _add(found, DELETE, texts)
        if name in ("rename", "replace") and arguments and _looks_like_a_path(texts):
            _add(found, WRITE, known.texts(arguments[0]))


def _run_inside(module: str, name: str, arguments: list[ast.expr], known: _Names, found: Found) -> None:
    """exec, runpy, chdir and kill."""
    first = arguments[0]
    if name == "chdir" and module in ("os", ""):
        known.folders += [text for text in known.texts(first) if UNKNOWN not in text]
    elif name in ("kill", "killpg") and module == "os":
        number = ast.unparse(first)
        if number.lstrip("-").isdigit():
            found.commands.append(["kill", "--", number if name == "kill" else f"-{number}"])
    elif name == "run_path":
        found.commands += [["python", text] for text in known.texts(first)]
    elif name == "exec" and isinstance(first, ast.Constant) and isinstance(first.value, str):
        inner = of_python(first.value)
        found.effects += inner.effects
        found.commands += inner.commands
        found.modules += inner.modules
    elif name == "exec" and "train.py" in ast.unparse(first):
        found.commands.append(["python", "train.py"])


def _looks_like_a_path(texts: list[str]) -> bool:
    return any("/" in text or "." in text for text in texts)


def _add(found: Found, how: str, texts: list[str], deep: bool = False) -> None:
    for text in texts:
        if text.strip(UNKNOWN + "/.") == "":
            found.vague = found.vague or UNKNOWN in text
        found.effects.append(Effect(how, text, deep))


def _mode(node: ast.Call, place: int) -> bool:
    """Whether an open() call may write."""
    modes: list[ast.expr] = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    modes += node.args[place : place + 1]
    for mode in modes:
        if not isinstance(mode, ast.Constant):
            return True
        if isinstance(mode.value, str) and any(char in mode.value for char in "wax+"):
            return True
        if isinstance(mode.value, int):
            return mode.value != 0
    return False


def _command(argument: ast.expr, known: _Names, found: Found) -> None:
    if isinstance(argument, (ast.List, ast.Tuple)):
        found.commands.append([known.texts(item)[0] for item in argument.elts])
    else:
        found.commands += [text for text in known.texts(argument) if text.strip(UNKNOWN)]
