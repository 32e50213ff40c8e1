"""Thresholds of the room report: the page, its charts, watch and doctor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ReportSettings:
    """The thresholds that the room report decides by."""

    chart_usual_share: float = 0.9
    """Share of scores that a chart's height is made for: a wild run must not press the others flat."""
    chart_stretch: float = 2.2
    """Height of a chart above the best, as a multiple of the distance from the best to the baseline."""
    pause_s: float = 1_800.0
    """A gap between two runs above which nobody was working: proposing takes minutes, a night's break takes hours."""
    page_refresh_s: float = 20.0
    """Seconds between two looks of an open page for a newer one: a run takes at least half a minute."""
    page_stale_s: float = 900.0
    """Seconds after which an open page that is not renewed says so, beside three runs' time: ideas take minutes."""
    serve_port: int = 8377
    """Port of --serve where it is free: none that is known for something else."""
    demo_s: float = 12.0
    """Seconds for which demo plays a night: as long as somebody who is curious looks."""
    diff_chars: int = 12_000
    """Length of one difference on the page: 300 changed lines, more than an experiment has."""
    diffs_latest: int = 100
    """Latest runs whose difference is on the page, beside kept changes and near misses: a night's work."""
    diffs_chars: int = 200_000
    """Length of all differences on a page, kept changes first: 1,000 runs take 780,000 more, and a phone opens 1 MB."""
    speed_warned: float = 0.1
    """Share by which the speed of one code may differ from run to run before the page warns: as much moves a score."""
    speed_from_tokens_M: float = 5.0
    """Million tokens from which a summary tells the speed to 1 %: it gives them to a tenth of a million."""
    constants_shown: int = 9
    """Constants whose values are drawn: three lines of three on a desk."""
    values_shown: int = 24
    """Values drawn for one constant, the latest: more marks lie on each other."""
    curves_shown: int = 6
    """Kept runs whose loss is drawn beside the baseline's, the latest: more lines can't be told apart."""
    suggestion_p: float = 0.1
    """Least P(better) of a near miss that the page proposes to build on: below it, it is a loss."""
    suggestions_shown: int = 3
    """Suggestions on the page of what to try next: as many as a person will look at."""
    live_refresh_s: float = 1.0
    """Seconds between two frames of watch: train.py itself prints every five seconds."""
    live_verdicts: int = 40
    """Latest verdicts in watch: what the highest terminal has room for; one of 24 lines shows four."""
    live_log_bytes: int = 262_144
    """Bytes at the end of a growing log that watch reads: two hours of train.py's progress lines."""
    low_disk_bytes: int = 2 * 1024**3
    """Free disk below which doctor warns: a night of 1,000 runs leaves 1 GB."""
    low_memory_bytes: int = 3 * 1024**3
    """Free memory below which doctor warns: torch and a pocket run take about 2 GB."""
