"""A night in one file of JSON lines, without its machine: written from a lab, and played again by ``research demo``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from research.agents.night import state
from research.agents.night.state import NightState
from research.core.errors import ResearchError
from research.core.paths import LabPaths
from research.core.records import Run, Verdict
from research.report.charts import smoothed
from research.report.data import PageData, Row, judged_as_of, page_data
from research.report.progress import Curve, Progress, read_curve
from research.report.watch import Flight, LiveView
from research.report.write import choose_branch, curves_of, data_of_branch, differences
from research.runs.score import TOKENS_PER_S, read_score
from research.store.db import Store
from research.store.ledger import has_row
from research.store.rows import from_plain, to_plain
from research.verdict.comparison import compare
from research.verdict.consequences import DECIDED_BY
from research.verdict.judge import judge

DEMO = Path(__file__).parent / "demo" / "night.jsonl"
"""The night that is shipped."""
NOTE = "What was decided is what the night decided; values, differences and P(better) are by the rules of now."
"""What is to be known of a recorded night whose verdicts were judged again."""

_FACTS = ("device_class", "kernels", "initial_values", "race", "stopped_at", TOKENS_PER_S)
"""Facts of a run that a page or a belief reads."""
_NAMES = ("machine", "gpu_uuid")
"""Facts that tell runs of different machines apart; they are replaced by numbers."""
_LOOKS = (0.3, 0.6, 0.9)  # of the budget, at which a run that is played again is shown


@dataclass(frozen=True)
class Recording:
    """A recorded night: its runs in order of start, its verdicts in order, curves by run and differences by commit."""

    night: NightState
    made_utc: str
    runs: Sequence[Run]
    verdicts: Sequence[Verdict]
    curves: Mapping[str, Curve]
    diffs: Mapping[str, str]

    def data(self, verdicts: Sequence[Verdict] | None = None) -> PageData:
        """Return what the page says after these verdicts, by default after all."""
        said = self.verdicts if verdicts is None else verdicts
        is_whole = len(said) == len(self.verdicts)
        night, made_utc = self.night, self.made_utc
        seen: dict[str, list[tuple[int, Verdict]]] = {}
        for order, verdict in enumerate(said, 1):
            seen.setdefault(verdict.run, []).append((order, verdict))
        judged = [judged_as_of(run, seen[run.run]) for run in self.runs if run.run in seen]
        if not is_whole:
            made_utc = said[-1].created_utc if said else night.started_utc
            night = replace(night, runs=len(judged), finished_utc=None, stop_reason=None)
        data = page_data(judged, night.branch, made_utc, night=night, launches=[item.run for item in judged])
        curves = curves_of(data, lambda run: self.curves.get(run.run, ()))
        notes = (*data.notes, NOTE)
        return replace(
            data, notes=notes, diffs=self.diffs, curves=curves, is_recorded=is_whole, is_night_on=not is_whole
        )

    def play(self) -> Iterator[LiveView]:
        """Yield the pictures that watch would have shown, a few for every run."""
        rows = {row.run.run: row for row in self.data().rows}
        said, shown = 0, self.data(())
        while said < len(self.verdicts):
            row = rows[self.verdicts[said].run]
            best = shown.best.rows if shown.best else ()
            best_curve = next((self.curves[row.run.run] for row in best if row.run.run in self.curves), ())
            for share in _LOOKS:
                yield LiveView(shown.made_utc, shown, (self._flight(row, share),), best_curve, self._words(shown))
            heard = {verdict.run for verdict in self.verdicts[: said + 1]}
            said += 1
            while said < len(self.verdicts) and self.verdicts[said].run in heard:
                said += 1  # what a run's verdict means for earlier runs
            shown = self.data(self.verdicts[:said])
        yield LiveView(shown.made_utc, shown, (), (), (f"ended: {self.night.stop_reason}",))

    def _flight(self, row: Row, share: float) -> Flight:
        run = row.run
        curve = tuple(point for point in self.curves.get(run.run, ()) if point[0] <= share)
        steps = run.metrics.num_steps if run.metrics else 0
        loss = curve[-1][1] if curve else None
        progress = Progress("training", share, round(steps * share), loss, 0.0, curve)
        return Flight(run.run, row.title, run.emitter or "", run.wall_s * share, progress, True, run.started_utc)

    def _words(self, shown: PageData) -> tuple[str, ...]:
        return (f"a recorded one, {len(shown.rows)} of {len(self.runs)} runs",)


def record(store: Store, paths: LabPaths, made_utc: str) -> Recording:
    """Return a branch's night without its machine, with the verdicts of the time.

    Raises:
        ResearchError: if there is no night to record.
    """
    judged = store.judged()
    data = data_of_branch(store, judged, choose_branch(judged, ""), made_utc)
    if data.night is None:
        raise ResearchError("There is no night on record here.", "Make one: uv run research night --max-runs 14")
    runs: list[Run] = []
    curves: dict[str, Curve] = {}
    numbers: dict[str, str] = {}
    for run in (row.run for row in data.rows):
        score = read_score(paths.runs / run.folder) if run.folder else None
        told = {**(score.facts if score else {}), **run.facts}  # an older version may not have recorded every fact
        facts = {key: told[key] for key in _FACTS if key in told}
        facts |= {key: numbers.setdefault(told[key], str(len(numbers) + 1)) for key in _NAMES if key in told}
        points = smoothed(read_curve(paths.runs / run.folder)) if run.folder else ()
        curves[run.run] = tuple((round(share, 4), round(loss, 4)) for share, loss in points)
        failure = replace(run.failure, text="") if run.failure else None
        runs.append(replace(run, facts=facts, failure=failure))
    verdicts = [replace(verdict, text="", terms={}) for verdict in store.verdicts() if verdict.run in curves]
    night = replace(data.night, paused_s=0.0)
    return Recording(night, made_utc, runs, verdicts, curves, differences(paths.root, data))


def lines_of(recording: Recording) -> str:
    """Return a recorded night as JSON lines."""
    night = asdict(recording.night)
    lines: list[dict[str, Any]] = [
        {"schema": "autoresearch.recording/1", "made_utc": recording.made_utc, "night": night},
        *({"run": _given(run), "curve": recording.curves[run.run]} for run in recording.runs),
        *({"verdict": _given(verdict)} for verdict in recording.verdicts),
        *({"diff": commit, "text": text} for commit, text in recording.diffs.items()),
    ]
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def judged_again(recording: Recording) -> Recording:
    """Return a night with what the rules of now say of its runs, in the order in which they were judged.

    What was decided stays, since git followed it and later runs build on it; where the rules of now decide otherwise,
    the verdict's reason says so.
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
    differs = f"; by the rules of now: {now.decision}, at the time: {known.decision}"
    why = now.why if now.decision == known.decision else f"{now.why}{differs}"
    return replace(known, estimate=now.estimate, difference=now.difference, p_better=now.p_better, why=f"{before}{why}")


def _given(record: Run | Verdict) -> dict[str, Any]:
    """Return the fields of a record that are not at their defaults."""
    usual = {one.name: one.default for one in fields(record)}
    return {name: value for name, value in to_plain(record).items() if value not in (usual[name], {}, [])}


def read_recording(path: Path = DEMO) -> Recording:
    """Read a recorded night.

    Raises:
        ResearchError: if it can't be read.
    """
    runs: list[Run] = []
    verdicts: list[Verdict] = []
    curves: dict[str, Curve] = {}
    diffs: dict[str, str] = {}
    try:
        first, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for line in lines:
            if "run" in line:
                runs.append(from_plain(Run, line["run"]))
                curves[runs[-1].run] = tuple((share, loss) for share, loss in line["curve"])
            elif "verdict" in line:
                verdicts.append(from_plain(Verdict, line["verdict"]))
            else:
                diffs[line["diff"]] = line["text"]
        night = state.from_json(json.dumps(first["night"]))
        made_utc = str(first["made_utc"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResearchError(f"The recorded night can't be read ({error}).", f"git checkout {path}") from None
    if night is None:
        raise ResearchError("The recorded night is not whole.", f"git checkout {path}")
    return Recording(night, made_utc, [run for run in runs if has_row(run)], verdicts, curves, diffs)
