"""The parts of the morning page above the table: what a person wants to know first comes first."""

from __future__ import annotations

from collections.abc import Sequence

from research.report import canvas, charts
from research.report.data import Candidate, Cell, Headline, ReportData
from research.report.html import bullets, card, command, esc, more_or_less, pill, section, table
from research.report.steps import first_thing
from research.report.text import clock, interval, money, plain, signed, span

_DECISIONS = {"keep": "keep", "discard": "drop", "replicate": "open", "investigate": "open"}


def head(data: ReportData) -> str:
    """The answer in one line, why it can be believed, and the night's figures."""
    top = data.headline
    where = " · ".join(part for part in (data.branch, data.contract, clock(data.made_utc)) if part)
    title, lede = _answer(top)
    night = f'<p class="say">{esc(top.night)}</p>' if top.night else ""
    return (
        f'<header><p class="where">{esc(where)}</p><h1>{title}</h1><p class="lede">{esc(lede)}</p>{_tally(data)}'
        f"{first_thing(data)}</header>{_tiles(top)}{night}"
    )


def _tally(data: ReportData) -> str:
    """How many changes came to what, each a jump to where they are told."""
    told = []
    for name, anchor, _, found in _groups(data):
        words = f"{len(found)} {esc(name.lower())}"
        told.append(f'<a href="#{anchor}">{words}</a>' if found else f"<span>{words}</span>")
    return f'<p class="tally">{"".join(told)}</p>' if len(data.candidates) > 1 else ""


def _answer(top: Headline) -> tuple[str, str]:
    """Headline (HTML) and the sentence under it (text)."""
    if not top.runs:
        return "No runs yet", "When the first run is over, this page says what it found."
    if top.best is None or top.best.estimate is None or top.baseline is None:
        return "No score yet", f"{top.runs} runs were made, and none came to a score that can be believed."
    if top.gain is None or top.best.number == top.baseline.number:
        value = f"val_bpb {interval(top.best.estimate)}, from {_times(top.best.estimate.n)}"
        return "The baseline still stands", f"Nothing better is known yet than {value}."
    solid, claim = top.solid, f"“{top.best.title}” stands, {interval(top.gain, True)} against the baseline as believed"
    if solid and solid.against_baseline:
        size = plain(abs(solid.against_baseline.mean))
        title = f'<span class="good"><span class="num">{size}</span> bpb better, confirmed</span>'
        if top.confirmed:
            return title, f"{claim} (95 %), {_measured(top)}."
        sure = f"Confirmed is “{solid.title}”, {interval(solid.against_baseline, True)} (95 %)."
        return title, f"{sure} Not confirmed yet: {claim}, {_measured(top)}."
    return "Nothing is confirmed yet", f"{claim} (95 %), {_measured(top)}. Another run of it would tell."


def _measured(top: Headline) -> str:
    """The runs behind a headline's claim as they are: their means differ by more than is believed of them."""
    told = [(whose, one) for whose, one in (("val_bpb ", top.best), ("the baseline's ", top.baseline)) if one]
    parts = [f"{whose}{plain(c.measured)}, {_times(c.n)}" for whose, c in told if c.measured is not None]
    return f"as measured: {'; '.join(parts)}"


def _times(n: int) -> str:
    return "one run" if n == 1 else f"{n} runs"


def _tiles(top: Headline) -> str:
    if not top.runs:
        return ""
    busy = f"{100 * top.utilisation:.0f} %" if top.utilisation is not None else "–"
    cost = money(top.cost_usd) if top.cost_usd is not None else "–"
    per_run = f"{top.wall_hours * 60 / top.runs:.1f} min a run" if top.wall_hours else ""
    tiles = [
        ("Runs", str(top.runs), f"{top.crashes} crashed" if top.crashes else "none crashed"),
        ("Kept", str(top.kept), "changes, after the baseline"),
        ("Working time", span(top.wall_hours) if top.wall_hours else "–", per_run),
        ("Utilisation", busy, "of the device's time spent training"),
        ("Cost", cost, top.cost_from),
    ]
    return '<dl class="tiles">{}</dl>'.format(
        "".join(
            f'<div class="tile"><dt>{n}</dt><dd>{esc(v)}<span class="sub">{esc(s)}</span></dd></div>'
            for n, v, s in tiles
        )
    )


def start(data: ReportData) -> str:
    """What to do in a lab without a run."""
    if data.rows:
        return ""
    say = "Nothing else is needed: no GPU, no key, no data set."
    return section("Begin", say, command("uv run research night --max-runs 5") + command("uv run research doctor"))


def pictures(data: ReportData) -> str:
    """Both charts, drawn for a desk and for a phone."""
    if not data.rows:
        return ""
    progress = _figure(charts.progress(data), charts.progress(data, canvas.PHONE_PROGRESS))
    frontier = ""
    if len(data.steps) > 1:
        frontier = _figure(charts.frontier(data), charts.frontier(data, canvas.PHONE_FRONTIER))
    say = (
        "Every run in order, as measured; lower is better. Names mark what the branch moved to, with the change in "
        "val_bpb that is believed of it by now."
    )
    second = (
        "What the branch stood on, as measured by then, with its 95 % interval. It rises where a replicate took an "
        "early draw's luck away; the changes beside the names are those believed by now."
    )
    return section("Progress", say, progress) + section("Frontier", second, frontier)


def _figure(wide: str, narrow: str) -> str:
    return f'<figure class="desk">{wide}</figure><figure class="phone">{narrow}</figure>'


def findings(data: ReportData) -> str:
    """What was confirmed, what was kept on one run, what only looked good, what is not decided."""
    inner = "".join(_finding(*group) for group in _groups(data) if group[-1])
    if len(data.candidates) > 1 and data.steps and not inner:
        inner = f'<p class="say">{esc(_nothing(data))}</p>'
    if inner and any(group[-1] for group in _groups(data)):
        inner += (
            '<p class="say"><small>Change: what is believed of the difference in val_bpb from what stood then, − is '
            "better. Believed: shrunk towards what most changes do, so a lucky draw counts for less than it shows. "
            "As measured: the plain mean of all runs, as in last-review.</small></p>"
        )
    return section("What is true of it", data.noise, inner) if data.rows else ""


def _nothing(data: ReportData) -> str:
    """That no change was believed for a moment, and which runs looked better all the same."""
    base = data.headline.baseline.number if data.headline.baseline else 0
    lower = []
    for row in data.rows:
        stood = [step.estimate.mean for step in data.steps if step.number < row.number]
        if row.val_bpb is not None and row.first != base and stood and row.val_bpb < stood[-1]:
            lower.append(f"#{row.number}")
    if not lower:
        return "Nothing beat what stood, not even for a moment."
    what = f"Run {lower[0]} scored better" if len(lower) == 1 else f"Runs {', '.join(lower)} scored better"
    return f"{what} than what stood, and not by as much as can be believed: the table of every run says why."


def _groups(data: ReportData) -> list[tuple[str, str, str, Sequence[Candidate]]]:
    """What became of the changes: name, anchor, what that means, which."""
    return [
        ("Confirmed", "confirmed", "Kept, run more than once, and the whole interval is a gain.", data.confirmed),
        ("Kept, not confirmed", "unsure", "Probably better: one run only, or zero within the interval.", data.unsure),
        ("Only looked good", "looked-good", "Ahead at first, and not when measured again.", data.looked_good),
        ("Not decided", "undecided", "Too close to call, or too good to be believed: run again.", data.waiting),
    ]


def _finding(name: str, anchor: str, say: str, found: Sequence[Candidate]) -> str:
    heads = [
        ("n", "#"),
        ("", "what"),
        ("n wide", "first run"),
        ("n", "as measured"),
        ("n", "change"),
        ("n wide", "P(better)"),
    ]
    rows = [
        [
            ("n", str(one.number)),
            ("t", f"{esc(one.title)}{_by(one)}"),
            ("n wide", plain(one.first_bpb, 5) if one.first_bpb is not None else "–"),
            ("n", _mean(one)),
            ("n", more_or_less(one.gain, 5)),
            ("n wide", f"{one.p_better:.2f}" if one.p_better is not None else "–"),
        ]
        for one in found
    ]
    head = f'<h3 id="{anchor}">{esc(name)} <span class=soft>({len(found)})</span></h3>'
    return f"{head}<p class=say><small>{esc(say)}</small></p>{card(table(heads, rows))}"


def _by(one: Candidate) -> str:
    return f"<br><small>{esc(one.emitter or 'free')} · <code>{esc(one.commit[:7])}</code></small>"


def _mean(one: Candidate) -> str:
    return f"{plain(one.measured, 5)}<br><small>n = {one.n}</small>" if one.measured is not None else "–"


def audit(data: ReportData) -> str:
    """What text that no decision has seen says about the kept configurations."""
    if not data.audited:
        return ""
    best = next((c for c in data.audited if data.headline.best and c.commit == data.headline.best.commit), None)
    verdict = f"<p class=say>{esc(_audit_says(best))}</p>" if best and best.audit else ""
    heads = [("n", "#"), ("", "kept change"), ("n", "validation,<br>believed"), ("n", "audit, as<br>measured")]
    rows = [
        [
            ("n", str(c.number)),
            ("t", esc(c.title)),
            ("n", more_or_less(c.against_baseline, 5)),
            ("n", more_or_less(c.audit, 5)),
        ]
        for c in data.audited
    ]
    say = (
        "A second text is scored that no decision and no agent ever sees. Told here only; values minus the baseline's, "
        "− is better."
    )
    return section("The audit", say, verdict + card(table(heads, rows)), "audit")


def _audit_says(best: Candidate) -> str:
    audit_, val = best.audit, best.against_baseline
    assert audit_ is not None
    seen = f" (believed of it on the validation text: {signed(val.mean, 5)})" if val else ""
    words = f"What stands measures {interval(audit_, True, 5)} against the baseline on it{seen}: "
    if audit_.high < 0:
        return words + "the gain holds on text that nothing was chosen by."
    if audit_.low > 0:
        return words + "there it is worse than the baseline. Do not ship it."
    return words + "that text can't tell them apart."


def archive(data: ReportData) -> str:
    """The archive as a grid: kinds of change down, size, memory and growth across."""
    if not data.cells:
        return ""
    split = {cell.niche: ("/".join(cell.niche.split("/")[:1]), tuple(cell.niche.split("/")[1:])) for cell in data.cells}
    kinds = list(dict.fromkeys(kind for kind, _ in sorted(split.values())))
    columns = sorted({rest for _, rest in split.values()})
    at = {split[cell.niche]: cell for cell in data.cells}
    best = data.headline.best.commit if data.headline.best else ""
    heads = [("", "")] + [
        ("", f"{esc(rest[0] if rest else '')}<span>{esc(', '.join(rest[1:]))}</span>") for rest in columns
    ]
    rows = []
    for kind in kinds:
        cells = [_cell(at.get((kind, rest)), best, ", ".join(rest)) for rest in columns]
        rows.append([("none", f"<strong>{esc(kind)}</strong>"), *cells])
    say = (
        "The best of every niche, kept or not, with its val_bpb as believed: what a change touched, by parameters, "
        "memory and growth. What stands is green."
    )
    return section("Archive", say, card(table(heads, rows, "grid")))


def _cell(cell: Cell | None, best: str, column: str) -> tuple[str, str]:
    if cell is None:
        return "none", ""
    words = f'<span title="{esc(cell.title)}">{plain(cell.mean)}</span>'
    who = cell.emitter or ("" if cell.niche.startswith("baseline") else "free")
    where = f'<small class="narrow">{esc(column)}</small>'  # a phone shows no column heads
    return (
        "num best" if best and cell.commit == best else "num",
        f'{where}{words}<br><small>n = {cell.n}<span class="wide"> · {cell.count} tried</span><br> {esc(who)}</small>',
    )


def emitters(data: ReportData) -> str:
    """Who was asked how often, and what came of it."""
    total = sum(line.runs for line in data.emitters) or 1
    rows = []
    for line in data.emitters:
        share = 100 * line.runs / total
        hours = line.minutes / 60
        rate = f"{line.earned_bpb / hours * 1e3:.2f}" if hours > 0.01 and line.earned_bpb else "–"
        meter = f'<div class="meter"><i style="width:{share:.0f}%"></i></div>'
        rows.append(
            [
                ("", f"<strong>{esc(line.name)}</strong>"),
                ("n", f"{line.runs}"),
                ("wide", meter),
                ("n", str(line.kept)),
                ("n wide", str(line.crashes)),
                ("n", plain(line.earned_bpb, 5) if line.earned_bpb else "–"),
                ("n wide", rate),
            ]
        )
    heads = [
        ("", "emitter"),
        ("n", "runs"),
        ("wide", "share"),
        ("n", "kept"),
        ("n wide", "crashed"),
        ("n", "earned, bpb"),
        ("n wide", "10⁻³ bpb an hour"),
    ]
    say = "Earned is what kept changes took off the val_bpb that stood before, as far as it is believed."
    return section("Who earned what", say, card(table(heads, rows))) if rows else ""


def crashes(data: ReportData) -> str:
    """Ways to fail, the most frequent first."""
    rows = [
        [
            ("n", f"{line.count}×"),
            ("t", f"{pill(line.kind, 'crash')} <code>{esc(line.signature)}</code>"),
            ("n wide", f"#{line.number}"),
            ("wide", f"<code>{esc(line.commit[:7])}</code>"),
        ]
        for line in data.crashes
    ]
    return (
        section(
            "Crashes", "", card(table([("n", ""), ("", "what failed"), ("n wide", "last"), ("wide", "commit")], rows))
        )
        if rows
        else ""
    )


def beliefs(data: ReportData) -> str:
    """What the lab believes by now."""
    return section("What the evidence says", "", card(bullets(data.conjectures)))


def notes(data: ReportData) -> str:
    """What the numbers leave out."""
    return section("Worth knowing", "", card(bullets(data.notes)))


def decision_kind(decision: str, crashed: bool) -> str:
    """The colour of a verdict's word."""
    return "crash" if crashed else _DECISIONS.get(decision, "keep" if decision == "baseline" else "drop")
