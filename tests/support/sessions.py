"""Steps that a scripted model takes in a session with a lab, and the pages of what it got to see."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.core.clock import system_clock, utc
from tests.support.labkit import Kit
from tests.support.model_server import Model, Script, Shell, Step, latest_order
from tests.support.transcript import Entry, Names, entries, page

RUN = f"{sys.executable} scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1"
"""With this very Python: a version manager's shim puts another uv in front of the stand-in."""
SETTLE = f"{sys.executable} -m research settle"
FOLDER = "AUTORESEARCH_TRANSCRIPTS"
"""Names the folder in which the pages are written."""
_PAGE = """\
# What {title} is shown

Everything that a model got to see from this repository: each context, refusal, review and order, as the model service
received it, wrapped here at 120 columns. Recorded on {day} with {version} and a scripted model by

    {variable}=docs/history uv run pytest {test}

The client's own instructions are left out. `RUN-1` and `COMMIT-1` stand for names that differ each time. `train.py` is
a stand-in that takes seconds and scores its one constant, `VAL`; the model plays a script, mistakes included: its edits
{own} are written down beforehand, launches, seeds and resets are typed as the latest order names them, with
`python -m research` for `uv run research`. In italics: what it does. What each hook is for: [hooks.md](../hooks.md).
"""


def edit(number: float, emitter: str = "free") -> str:
    """A shell edit of train.py with its commit."""
    message = f"exp: VAL to {number} [emitter={emitter}]"
    return f"sed -i 's/^VAL = .*/VAL = {number}/' train.py && git commit -qm '{message}' -- train.py"


def as_ordered(body: dict[str, Any]) -> Step:
    """Types what the latest order says, to the letter but for the Python that is meant."""
    order = latest_order(body)
    found = re.search(r"(?m)^Type.*?: (\S.*)$", order) or re.search(r"Carry that out in git: `(.*?)`", order)
    assert found, order
    line = re.sub("^uv run research", f"{sys.executable} -m research", found[1])
    return Shell(re.sub("^uv run python ", f"{sys.executable} ", line), 30_000, behind="run_in_background" in found[0])


def back_and(number: float) -> Script:
    """Goes back to the parent by the order's command, and makes the change there."""

    def step(body: dict[str, Any]) -> Step:
        found = re.search(r"First type `(git reset --keep \w+)`", latest_order(body))
        assert found, latest_order(body)
        return Shell(f"{found[1]} && {edit(number)}")

    return step


def chapter(model: Model, kit: Kit, places: Mapping[str, str] | None = None, lines: str = "") -> str:
    """What a model saw, and the lines that a night has printed, with nothing of this machine in them."""
    paths = {str(kit.root): "REPO", str(kit.home): "HOME", sys.executable: "python", **(places or {})}
    found = [*entries(model.requests), *([Entry("The night's lines", lines)] if lines else [])]
    text = page(found, Names(paths, kit.git("rev-list", "--all", "--reflog").split()))
    assert str(kit.root.parent) not in text
    assert str(Path.home()) not in text
    return text


@contextmanager
def transcript(
    client: str, title: str, own: str, program: str | None, names: Sequence[str]
) -> Iterator[dict[str, str]]:
    """The chapters of a client's page, written at the end where that is asked for and all of them are there.

    Args:
        client: Its name.
        title: Who is shown something.
        own: What else its model does by a script.
        program: Its program, for the version.
        names: Of the chapters, in order.
    """
    chapters: dict[str, str] = {}
    yield chapters
    folder = os.environ.get(FOLDER)
    if folder and set(chapters) == set(names):
        version = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stdout.strip()
        head = _PAGE.format(
            title=title, day=utc(system_clock())[:10], version=version, own=own, variable=FOLDER,
            test=f"tests/agents/test_{client}_client.py",
        )  # fmt: skip
        parts = [head, *(f"## {name}\n\n{chapters[name]}\n" for name in names)]
        Path(folder, f"{client}-session.md").write_text("\n".join(parts))
