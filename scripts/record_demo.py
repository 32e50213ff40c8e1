"""Records the night of a checkout as the one that ``research demo`` plays: its runs, verdicts, differences and curves.

Runs and decisions stay as they were; the numbers of the verdicts are computed anew by the present rules. Without a
CHECKOUT, the shipped night is judged once more, which is needed whenever those rules have changed.

uv run scripts/record_demo.py [CHECKOUT]
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's code, whatever is installed

from research.core.clock import system_clock, utc  # noqa: E402
from research.core.errors import ResearchError  # noqa: E402
from research.core.files import write_whole  # noqa: E402
from research.core.git import find_root  # noqa: E402
from research.core.paths import LabPaths  # noqa: E402
from research.core.records import Run, Verdict  # noqa: E402
from research.report.branches import choose_branch  # noqa: E402
from research.report.charts import smoothed  # noqa: E402
from research.report.progress import Curve, gaps, read_curve  # noqa: E402
from research.report.recording import DEMO, RULES_OF_NOW, Recording, judged_as_of, read_recording  # noqa: E402
from research.report.write import data_of_branch, differences  # noqa: E402
from research.runs.gpu import CARD_FACT  # noqa: E402
from research.runs.racing import LossCurve, curve_of  # noqa: E402
from research.runs.score import TOKENS_PER_S, read_score  # noqa: E402
from research.store.db import Store  # noqa: E402
from research.store.open import read_store  # noqa: E402
from research.store.rows import to_plain  # noqa: E402
from research.verdict.comparison import compare  # noqa: E402
from research.verdict.consequences import DECIDED_BY  # noqa: E402
from research.verdict.judge import judge  # noqa: E402

FACTS = ("device_class", "kernels", "initial_values", "race", "stopped_at", TOKENS_PER_S)
"""Facts of a run that a page or a belief reads."""


def main(argv: list[str]) -> int:
    """Write the recording and say how large it is."""
    if len(argv) > 1 or argv[:1] == ["--help"]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        recording = judged_again(_recorded(Path(argv[0])) if argv else read_recording())
    except ResearchError as error:
        print(f"record_demo: {error.what} {error.next}", file=sys.stderr)
        return 1
    text = lines_of(recording)
    write_whole(DEMO, text.encode())
    print(f"{DEMO}: {len(text) / 1024:.0f} KiB, {len(recording.runs)} launched runs")
    return 0


def _recorded(checkout: Path) -> Recording:
    paths = LabPaths(find_root(checkout))
    with read_store(paths) as store:
        return record(store, paths, utc(system_clock()))


def record(store: Store, paths: LabPaths, made_utc: str) -> Recording:
    """Return a branch's night, without names of its machine, with the verdicts of its time.

    Raises:
        ResearchError: if there is no night to record.
    """
    judged = store.judged()
    data = data_of_branch(store, judged, choose_branch(judged, (), ""), made_utc)
    if data.night is None:
        raise ResearchError("There is no night on record here.", "Make one: uv run research night --max-runs 14")
    runs: list[Run] = []
    curves: dict[str, Curve] = {}
    ahead: dict[str, Curve] = {}
    base = curve_of(paths.runs / data.baseline.rows[0].run.folder) if data.baseline else LossCurve()
    shown = {row.run.run for one in (data.baseline, *data.kept) if one for row in one.rows}
    numbers: dict[str, str] = {}
    for run in data.launches:
        score = read_score(paths.runs / run.folder) if run.folder else None
        known = {**(score.facts if score else {}), **run.facts}  # an older version may not have recorded every fact
        facts = {key: known[key] for key in FACTS if key in known}
        if card := known.get(CARD_FACT):
            facts[CARD_FACT] = numbers.setdefault(card, str(len(numbers) + 1))  # cards are numbered, not named
        points = smoothed(read_curve(paths.runs / run.folder)) if run.folder else ()
        curves[run.run] = tuple((round(share, 4), round(loss, 4)) for share, loss in points)
        if run.run in shown:
            told = gaps(curve_of(paths.runs / run.folder), base)
            ahead[run.run] = tuple((round(share, 4), round(gap, 4)) for share, gap in told)
        failure = replace(run.failure, text="") if run.failure else None
        runs.append(replace(run, facts=facts, failure=failure))
    verdicts = [replace(verdict, text="", terms={}) for verdict in store.verdicts() if verdict.run in curves]
    night = replace(data.night, paused_s=0.0)
    return Recording(night, made_utc, runs, verdicts, curves, ahead, differences(paths.root, data))


def lines_of(recording: Recording) -> str:
    """Return a recorded night as JSON lines."""
    night = asdict(recording.night)
    lines: list[dict[str, Any]] = [
        {"schema": "autoresearch.recording/1", "made_utc": recording.made_utc, "night": night},
        *(_run_line(run, recording) for run in recording.runs),
        *({"verdict": _given(verdict)} for verdict in recording.verdicts),
        *({"diff": commit, "text": text} for commit, text in recording.diffs.items()),
    ]
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def _run_line(run: Run, recording: Recording) -> dict[str, Any]:
    """Return a run and its curves, those it has."""
    line = {"run": _given(run), "curve": recording.curves[run.run]}
    return {**line, "ahead": ahead} if (ahead := recording.ahead.get(run.run)) else line


def _given(record: Run | Verdict) -> dict[str, Any]:
    """Return the fields of a record that are not at their defaults."""
    usual = {one.name: one.default for one in fields(record)}
    return {name: value for name, value in to_plain(record).items() if value not in (usual[name], {}, [])}


def judged_again(recording: Recording) -> Recording:
    """Return a night whose verdicts have the numbers of the present rules.

    Decisions stay, since git followed them and later runs build on them; where the present rules decide otherwise, the
    verdict's reason says so.
    """
    runs = {run.run: run for run in recording.runs}
    seen: dict[str, list[tuple[int, Verdict]]] = {}
    said: list[Verdict] = []
    latest: Verdict | None = None
    for known in recording.verdicts:
        if known.run in seen:  # what the verdict before means for an earlier run of its configuration
            follows = latest is not None and known.why.startswith(DECIDED_BY.format(latest.run))
            again = _with_numbers(known, latest, DECIDED_BY.format(latest.run) + ": ") if latest and follows else known
        else:
            past = [judged_as_of(run, seen[run.run]) for run in recording.runs if run.run in seen]
            again = latest = _with_numbers(known, judge(compare(runs[known.run], past), known.created_utc))
        said.append(again)
        seen.setdefault(known.run, []).append((len(said), again))
    return replace(recording, verdicts=said)


def _with_numbers(known: Verdict, now: Verdict, before: str = "") -> Verdict:
    differs = f"; {RULES_OF_NOW}: {now.decision}, at the time: {known.decision}"
    why = now.why if now.decision == known.decision else f"{now.why}{differs}"
    return replace(known, estimate=now.estimate, difference=now.difference, p_better=now.p_better, why=f"{before}{why}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
