"""The pages say what is there: their links lead somewhere, and the commands, options and paths that they name exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from research.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "program.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
TODAY = [page for page in PAGES if page.parent.name != "history"]
"""Pages that speak of the code as it is; a log in docs/history speaks of the code of its time."""

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
VERB = re.compile(r"\bresearch ([a-z][a-z-]+)((?: [^`\n#|]*)?)")
SCRIPT = re.compile(r"\b(?:python|uv run) ((?:scripts/\w+|prepare|train)\.py)([^`\n#]*)")
FILE = re.compile(r"`((?:research|scripts|tests|docs|\.codex)/[\w./-]*)`")
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")
OPTIONS_OF = {
    "prepare.py": "research/benchmark/download.py",
    "scripts/run_experiment.py": "research/lab/runner.py",
    "scripts/modal_gpu.py": "research/lab/runner.py",
}
"""Where a script's options are declared, if not in itself."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
pages_of_today = pytest.mark.parametrize("page", TODAY, ids=lambda page: page.relative_to(ROOT).as_posix())


def without_code(text: str) -> str:
    """Return a page's prose."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"(?ms)^```.*?^```$", "", text))


def code_of(text: str) -> Iterator[str]:
    """Yield what a page shows as code: blocks, indented lines, and spans, which may go over a line's end."""
    yield from re.findall(r"(?ms)^```\w*\n(.*?)^```$", text)
    rest = re.sub(r"(?ms)^```.*?^```$", "", text)
    yield from re.findall(r"(?m)^ {4,}(\S.*)$", rest)
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    heads = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pages
def test_links_lead_somewhere(page: Path):
    for link in LINK.findall(without_code(page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors_of(target), f"{link}: there is no such heading"


@pages_of_today
def test_verbs_and_their_options_exist(page: Path):
    context = click.Context(app)
    verbs = {name: app.get_command(context, name) for name in app.list_commands(context)}
    for code in code_of(page.read_text()):
        for verb, rest in VERB.findall(code):
            assert verb in verbs, f"research {verb}"
            known = {option for each in verbs[verb].params for option in each.opts} | {"--help"}
            assert set(OPTION.findall(rest)) <= known, f"research {verb}{rest}"


@pages_of_today
def test_scripts_and_their_options_exist(page: Path):
    for code in code_of(page.read_text()):
        for script, rest in SCRIPT.findall(code):
            source = (ROOT / OPTIONS_OF.get(script, script)).read_text()
            assert (ROOT / script).is_file()
            for option in OPTION.findall(rest.split(" -- ")[0]):
                assert f'"{option}"' in source, f"{script} {option}"


def test_every_agent_gets_the_same_rules():
    """Codex reads AGENTS.md, Claude Code CLAUDE.md, people program.md; one person's settings are nobody else's."""
    for name in ("AGENTS.md", "CLAUDE.md"):
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).resolve() == ROOT / "program.md"
    tracked = subprocess.run(["git", "ls-files", "AGENTS.md", "CLAUDE.md"], cwd=ROOT, capture_output=True, text=True)
    assert tracked.stdout.split() == ["AGENTS.md", "CLAUDE.md"]
    assert ".claude/settings.local.json" in (ROOT / ".gitignore").read_text().splitlines()


@pages_of_today
def test_paths_exist(page: Path):
    for path in FILE.findall(page.read_text()):
        assert (ROOT / path).exists(), f"{path} is named and is not there"
