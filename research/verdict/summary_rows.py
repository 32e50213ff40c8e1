"""The part of a summary that changes between two verdicts: the pending plan, and what HEAD is.

The verb makes its summary anew; a hook puts this part into the rows that were stored with the last verdict. So nothing
here may load the rest of the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from research.core.commit_message import EXPERIMENT, tag_of

Row = tuple[str, str]
"""A name, "" to go on with the one before, and what there is to say."""

SUMMARY_FACT = "summary:"
"""With a branch's name behind it, the store's fact that holds the rows of its summary, as a JSON list of pairs."""
BEST, PHASE, PLAN, WARNINGS, MEMORY = "Best", "Phase", "Plan", "Warnings", "Memory"
WARNINGS_SHOWN = 6
"""Warnings shown at once. Here and not among the settings, which take a hook longer to load than everything else."""
NO_BASELINE, NO_BEST, NO_PLAN = "no baseline yet", "no best yet", "none pending"


def plan_line(emitter: str | None, category: str | None, parent: str | None, kind: str, reason: str) -> str:
    """A plan in one line."""
    if kind == "replicate":
        return f"{f'replicate {parent[:7]}' if parent else 'the baseline'}: {reason}"
    who = emitter or "the agent is free"
    what = f" on {category}" if category else ""
    start = f" from {parent[:7]}" if parent else ""
    return f"{who}{what}{start}: {reason}"


def head_warnings(
    commit: str, subject: str, measured: bool, planned: str | None, twin: str = "", way_back: str = ""
) -> list[str]:
    """What to say of the commit at HEAD.

    Args:
        commit: Its hash.
        subject: Its subject.
        measured: Whether a run of it ended with a result.
        planned: The emitter of the pending plan.
        twin: The run that measured the same program, "" for none.
        way_back: The commit that takes HEAD's place then: HEAD itself where only its message is new.
    """
    if measured or way_back == commit:
        return []
    found = []
    if twin:
        back = f"git reset --keep {way_back[:7]}"
        found.append(f"HEAD {commit[:7]} is the same program as run {twin}, not measured again; take it back: {back}")
    elif subject.startswith(EXPERIMENT):
        found.append(f"HEAD {commit[:7]} is an experiment without a result: run it before the next one.")
    tagged = tag_of(subject)
    if planned and tagged and planned != tagged:
        found.append(f"The plan asked for {planned}, HEAD's commit says {tagged}: the commit counts.")
    return found


def section(name: str, lines: Sequence[str]) -> list[Row]:
    """Lines under one name."""
    return [(name if place == 0 else "", line) for place, line in enumerate(lines)]


def as_text(rows: Iterable[Row]) -> str:
    """Rows as plain lines: names in a column of their own."""
    return "\n".join(f"{name + ':' if name else '':<13}{text}".rstrip() for name, text in rows)


def brought_up_to_date(stored: Iterable[Row], plan: str, phase: str, warnings: Sequence[str]) -> list[Row]:
    """Stored rows with what holds now.

    Args:
        stored: The rows as they were with the last verdict.
        plan: The pending plan in one line, "" without one.
        phase: Its phase, "" where it says none.
        warnings: Those about HEAD, which come first.
    """
    now = {PLAN: plan or NO_PLAN, PHASE: phase}
    kept: list[Row] = []
    last: list[Row] = []
    warned = list(warnings)
    name = ""
    for word, text in stored:
        name = word or name
        if name == WARNINGS:
            warned.append(text)
        else:
            (last if name == MEMORY else kept).append((word, now.get(word) or text))
    return [*kept, *section(WARNINGS, warned[:WARNINGS_SHOWN]), *last]
