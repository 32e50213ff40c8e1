"""What is off-limits whatever the file: installing, publishing, ending others' processes, overruling verdicts."""

from __future__ import annotations

import os

from research.agents.policy.effects import has_flag, plain_words
from research.agents.shell.evaluate import UNKNOWN
from research.agents.shell.wrappers import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.policy.protected import Where
    from research.agents.shell.evaluate import Act

_INSTALLERS: dict[str, tuple[str, ...]] = {
    "uv": ("add", "remove", "pip install", "pip uninstall", "pip sync", "tool install", "tool run"),
    "pip": ("install", "uninstall", "download", "wheel"),
    "poetry": ("add", "remove", "install", "update"),
    "pdm": ("add", "remove"),
    "pipenv": ("install", "uninstall"),
    "pipx": ("install", "run", "inject"),
    "conda": ("install", "create", "update", "remove", "env create", "env update"),
    "mamba": ("install", "create", "update", "remove"),
    "micromamba": ("install", "create", "update", "remove"),
    "apt": ("install", "remove", "upgrade", "purge"),
    "apt-get": ("install", "remove", "upgrade", "purge", "dist-upgrade"),
    "aptitude": ("install", "remove"),
    "dnf": ("install", "remove"),
    "yum": ("install", "remove"),
    "apk": ("add", "del"),
    "pacman": ("-S", "-R"),
    "brew": ("install", "uninstall", "upgrade"),
    "npm": ("install", "i", "add", "ci", "uninstall"),
    "yarn": ("add", "install"),
    "pnpm": ("add", "install"),
    "cargo": ("install",),
    "gem": ("install",),
}
INSTALL = (
    "Experiments add no packages: a result must come from train.py alone, in the environment that every run had. "
    "Do it with what is installed (torch, numpy, the standard library), or propose the package to the person."
)
_PUBLISH = "Nothing is published from here: a person looks at the night's commits first. Go on locally."
_PROCESS = (
    "Other processes on this machine may be somebody's runs. End only your own: Ctrl-C (\\u0003) through write_stdin "
    "in its session, or kill PID of a process that you started; the runner ends runs at their time limit by itself."
)
_GPU_SETTINGS = frozenset({
    "-r", "-pm", "-pl", "-lgc", "-rgc", "-lmc", "-rmc", "-ac", "-rac", "-mig", "-c", "-e", "-gom", "--gpu-reset",
    "--persistence-mode", "--power-limit", "--lock-gpu-clocks", "--reset-gpu-clocks", "--lock-memory-clocks",
    "--reset-memory-clocks", "--applications-clocks", "--compute-mode", "--multi-instance-gpu", "--ecc-config",
})  # fmt: skip
_UV_VALUED = frozenset({"--project", "--directory", "--config-file", "--cache-dir", "--color", "--python", "-p"})
_PUBLISHERS = frozenset({"uv", "poetry", "pdm", "hatch", "flit", "npm", "yarn", "pnpm", "cargo"})
_GH_READS = frozenset({"view", "list", "status", "diff", "checks", "browse"})


def refused(act: Act, argv: list[str], where: Where) -> str | None:
    """Why a command is off-limits, None if it is not."""
    name = name_of(argv)
    if reason := _installs(act, name, argv):
        return reason
    if name in ("gh", "glab", "hub"):
        words = plain_words(argv, frozenset({"-R", "--repo"}))
        if words[:1] in (["pr"], ["mr"], ["release"], ["repo"], ["issue"], ["gist"]):
            return _PUBLISH if words[1:2] and words[1] not in {*_GH_READS, "clone"} else None
        return _PUBLISH if words[:1] == ["pull-request"] or (words[:1] == ["api"] and has_flag(argv, "XfF")) else None
    if name in _PUBLISHERS and plain_words(argv)[:1] == ["publish"]:
        return _PUBLISH
    if name in ("twine", "huggingface-cli", "hf") and any(word.startswith("upload") for word in argv):
        return _PUBLISH
    if reason := _ends_processes(act, name, argv, where):
        return reason
    return _overrules(argv, where)


def _installs(act: Act, name: str, argv: list[str]) -> str | None:
    if name in ("python", "python3") or name.startswith("python3."):
        if "-m" in argv[:-1] and argv[argv.index("-m") + 1] in ("pip", "ensurepip", "easy_install", "conda"):
            return _installs(act, argv[argv.index("-m") + 1], argv[argv.index("-m") + 1 :])
        words = plain_words(argv)
        setup = words[:1] and words[0].rsplit("/", 1)[-1] == "setup.py"
        return INSTALL if setup and words[1:2] in (["install"], ["develop"]) else None
    if name.startswith("pip") and name[3:].replace(".", "").isdigit():
        name = "pip"
    if name in ("easy_install", "ensurepip") or (name == "uvx" and plain_words(argv)):
        return INSTALL
    if name == "uv" and argv[1:2] == ["run"]:
        return INSTALL if any(word.split("=")[0].startswith("--with") for word in argv) else None
    verbs = _INSTALLERS.get(name)
    if not verbs or "--help" in argv or "--dry-run" in argv:
        return None
    words = plain_words(argv, _UV_VALUED if name == "uv" else frozenset()) if name != "pacman" else argv[1:]
    said = " ".join(words[:2])
    hit = any(said == verb or said.startswith(verb + " ") or words[:1] == [verb] for verb in verbs)
    return INSTALL if hit else None


def _ends_processes(act: Act, name: str, argv: list[str], where: Where) -> str | None:
    if name in ("pkill", "killall", "skill", "xkill"):
        return _PROCESS
    if name == "fuser" and has_flag(argv, "k", "--kill"):
        return _PROCESS
    if name == "nvidia-smi" and _GPU_SETTINGS & {word.split("=")[0] for word in argv[1:] if argv[1][:1] == "-"}:
        return "The GPU's settings are everybody's, and a reset ends every run on it. Leave them as they are."
    if name in ("shutdown", "reboot", "halt", "poweroff") or (name == "systemctl" and "reboot" in argv):
        return _PROCESS
    if name != "kill" or "-0" in argv or "-l" in argv:
        return None
    words = argv[1:]
    if words[:1] and words[0].startswith("-") and len(words) > 1:
        words = words[2:] if words[0] in ("-s", "-n") else words[1:]
    for word in [word for word in words if word != "--"] or [UNKNOWN]:
        if word.startswith("%"):
            continue
        if not word.isdigit() or not _is_ours(word, where):
            return _PROCESS
    return None


def _is_ours(pid: str, where: Where) -> bool:
    """Whether a process is of this checkout; one that is gone harms nobody."""
    try:
        place = os.readlink(f"/proc/{pid}/cwd")
    except FileNotFoundError:
        return os.path.isdir("/proc/self")
    except OSError:
        return False
    return any(place == root or place.startswith(root + "/") for root in where.roots)


def _overrules(argv: list[str], where: Where) -> str | None:
    """A person's verbs are a person's while experiments run."""
    name = name_of(argv)
    if name == "research":
        verb = plain_words(argv)[:1]
    elif name.startswith("python") and argv[1:3] == ["-m", "research"]:
        verb = plain_words(argv[2:])[:1]
    else:
        return None
    if where.guarded and verb in (["decide"], ["import"]):
        return (
            f"`research {verb[0]}` is a person's: it overrules what was measured. Type `uv run research settle` to "
            "carry the lab's verdict out, or `uv run research replicate` to measure again."
        )
    if where.guarded and verb == ["autonomy"] and argv[-1] in ("on", "off"):
        return "The autonomy switch is the person's. Go on with the order that you have, or end your turn."
    if where.driven and verb in (["settle"], ["replicate"], ["night"]):
        return "The driver does that. Edit train.py, commit it once, and end your turn."
    return None
