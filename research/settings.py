"""Every threshold of the control plane: its name, unit and reason, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The thresholds; units are in the names, reasons next to the values."""

    # Reading logs -------------------------------------------------------------------------------------------------
    log_head_bytes: int = 65_536
    """How much of a log's beginning is read: the settings a train.py prints fit many times over."""
    log_tail_bytes: int = 1_048_576
    """How much of a log's end is read: a deep traceback with its causes is under 100 kB."""
    tail_lines: int = 20
    """Lines of a log that are shown: a traceback's end fits, a screen is not filled."""
    line_chars: int = 300
    """Length at which one shown log line is cut: progress bars and tensors are longer and say nothing."""
    quote_chars: int = 4_000
    """Log text handed to an agent at once: about a thousand tokens, so that a log can't flood a context."""
    number_chars: int = 40
    """Longest spelling of a number in a summary; Python would read a million digits, nobody prints them."""
    signature_chars: int = 160
    """Length of a failure signature: the message's beginning tells faults apart, its end repeats values."""

    # Launching ----------------------------------------------------------------------------------------------------
    default_timeout_minutes: float = 10.0
    """Time limit of a run: the five-minute budget, compiling and scoring, and some air."""
    kill_grace_s: float = 5.0
    """Seconds between passing a signal on and killing: enough to write a file, short for someone waiting."""
    drain_s: float = 2.0
    """Seconds to read on after the command's end: what is in the pipe by then was written by it."""
    min_free_bytes: int = 64 * 1024 * 1024
    """Free disk below which nothing is launched: a run leaves about 1 MB, a full disk tears records."""
    reserve_bytes: int = 16_384
    """Bytes set aside for a run's finish record before launch, so that a disk that fills up meanwhile can't lose it."""
    smoke_budget_s: int = 2
    """Training seconds of --smoke: a few steps at pocket size on a CPU."""
    smoke_timeout_s: float = 180.0
    """Limit of the whole smoke run: pocket data may have to be made first."""
    contract_query_timeout_s: float = 120.0
    """Limit of asking prepare.py for its contract: it imports torch, seconds when warm, a minute on a cold disk."""
    nvidia_smi_timeout_s: float = 10.0
    """Limit of one nvidia-smi call: it takes 0.1 to 2 s, and hangs on a sick driver."""
    sample_every_s: float = 5.0
    """Seconds between two samples of the GPU: throttling lasts longer, and sampling must not disturb the run."""
    throttle_fraction: float = 0.1
    """Share of throttled samples at which a run is marked: single samples at start-up are usual."""

    # Store --------------------------------------------------------------------------------------------------------
    busy_timeout_s: float = 30.0
    """Seconds a writer waits for another: a write takes milliseconds, a slow disk some seconds."""
    check_bytes: int = 16 * 1024 * 1024
    """Size up to which memory.db is checked whole when opened: 10,000 runs, some 20 ms; above it, as pages are met."""

    # Scores -------------------------------------------------------------------------------------------------------
    printed_bpb_tolerance: float = 1e-6
    """Largest honest difference between the printed val_bpb (six decimals) and score.json's."""
    least_budget_share: float = 0.5
    """Below this share of its budget a run did not train what it says."""
    most_budget_share: float = 1.1
    """Above this share (and one slow step) a run trained longer than others may."""
    last_step_s: float = 30.0
    """Length of the slowest honest step: the last one may begin just before the budget ends."""
    # Night --------------------------------------------------------------------------------------------------------
    baseline_attempts: int = 3
    """Failed baselines after which a night gives up: what was never changed fails for reasons of its own."""
    failures_in_a_row: int = 5
    """Infrastructure failures in a row after which a night ends: by then it is not a hiccup."""
    backoff_first_s: float = 10.0
    """Wait after the first infrastructure failure; it doubles each time."""
    backoff_most_s: float = 600.0
    """Longest such wait: twice a run's length, so that a night notices soon when things are back."""
    refusals_in_a_row: int = 20
    """Candidates in a row that came to no run (refused, repeated, none found) after which a night ends."""
    stuck_runs: int = 30
    """Runs without a keep after which --notify is told that the night is stuck: half an evening on one GPU."""
    notify_timeout_s: float = 30.0
    """Limit of the --notify command: a message takes seconds, and a night must not wait for it."""
    poll_s: float = 0.05
    """Seconds between two looks at workers and signals."""

    # Memory -------------------------------------------------------------------------------------------------------
    niche_params_m: tuple[float, ...] = (25.0, 75.0, 150.0)
    """Millions of parameters at which a size bucket begins: models differ by factors, not percents."""
    niche_memory_gb: tuple[float, ...] = (20.0, 40.0, 60.0)
    """GiB of peak memory at which a bucket begins: cards of 24, 48 and 80 GB, with some air."""
    near_miss_bpb: float = 0.0015
    """How far above the incumbent a loss is still near: about two sd of one run at the official profile."""
    near_misses_kept: int = 12
    """Near misses that are remembered: enough for pairs to combine, few enough to read."""
    recent_kept: int = 20
    """Configurations that count as recent: one evening's worth."""
    archive_stall: int = 8
    """Experiments without an improvement after which an archive parent may have its turn."""
    archive_share: float = 0.1
    """Share of experiments that then start from the archive: a bounded price for leaving a basin."""
    archive_reach: int = 5
    """Places in the order of belief from which archive parents are drawn; later ones lie too far back."""
    recombine_share: float = 0.1
    """Share of experiments that go to the recombinator while the phase is recombine, so that others have their turn."""
    phase_window: int = 5
    """Latest configurations whose crashes and gains tell the phase of the search."""
    conjecture_least_n: int = 3
    """Configurations behind a conjecture: two agree by accident half the time."""
    spread_prior_n: float = 2.0
    """Weight, in configurations, of the assumed spread of effects: soon overruled, yet never zero after two."""
    spread_prior_bpb: float = 0.0015
    """Assumed sd of what one idea does: the published night's median effect is about 0.0020."""
    delta_entries: int = 40
    """Parts of a change that a record names: one idea has a handful; records stay small after a rewrite."""
    delta_chars: int = 200
    """Length of one of them above which it is left out: a table of numbers is no single value that moved."""
    replay_runs: int = 400
    """Latest runs that a plan is made from: effects are learned from 300, and an emitter's credit halves in 23."""
    digest_least_runs: int = 500
    """Runs from which on the recollection is kept in the store: below it, folding takes less time than writing."""
    stabilize_crashes: int = 2
    """Crashes among the latest few that call for steadiness before new ideas."""
    explore_stall: int = 4
    """Configurations without a kept one after which the neighbourhood counts as searched."""
    recombine_stall: int = 6
    """The same after which near misses are worth putting together."""
    plateau_stall: int = 5
    """Configurations without a kept one that are a plateau: with a third of ideas gaining, one chance in eight."""
    conjectures_shown: int = 4
    """Conjectures that are told at once."""
    anomaly_sd: float = 3.5
    """How many sd from its neighbours makes a result surprising: one honest result in two thousand."""
    anomalies_kept: int = 8
    """Anomalies that are remembered; older ones were looked at or will not be."""
    anomaly_neighbours: int = 4
    """Neighbours without which nothing can be called surprising."""
    rare_crash_share: float = 0.1
    """Share of crashes in a kind of change below which one more is a surprise."""
    no_fly_shown: int = 3
    """Failure patterns that are told at once."""
    collapse_window: int = 8
    """Latest emitters that are looked at for a collapse onto one."""
    collapse_count: int = 6
    """How many of them by one emitter are a collapse."""
    elites_shown: int = 4
    """Elites in the summary; the archive shows all."""
    warnings_shown: int = 6
    """Warnings told at once."""

    # Verdicts -----------------------------------------------------------------------------------------------------
    noise_prior_sd_bpb: float = 0.0007
    """Noise of one run before any replicate, in bpb: the one published seed pair on an H100 lies 0.00070 apart, and
    the same code on three hosts spreads by 0.0003."""
    noise_prior_n: float = 2.0
    """Replicates that this guess is worth: it comes from a handful of runs, and at other sizes the noise is ten times
    that, so a few replicates must outweigh it."""
    interval_share: float = 0.95
    """Share of belief inside every interval shown: what people expect an interval to be."""
    incumbent_stays_p: float = 0.5
    """P(better than the one kept before) below which an incumbent that was measured again goes: an even chance, since
    either must stand and the one before was measured as well."""
    suspect_share: float = 0.025
    """Share of the incumbent's val_bpb below which no gain is suspected: a whole published night gained 1.2 %, the best
    known session 2.8 %; in absolute terms a small model's honest gains are larger than a large one's."""
    fitness_per_bpb: float = 100.0
    """Score of one bpb gained: a good late gain, 0.001, then weighs 0.1, about as much as a term of novelty."""
    fitness_simpler: float = 0.1
    """Score of a change kept because it is shorter and as good: what a gain of 0.001 would have earned."""
    novelty_niche: float = 0.35
    """Novelty of a niche's first run; it falls with the root of the runs there, as a mean's error does."""
    novelty_category: float = 0.2
    """The same for a kind of change."""
    novelty_emitter: float = 0.1
    """The same for an emitter."""
    information_category: float = 0.25
    """Information of the first run of a kind of change; falls like novelty."""
    information_stall: float = 0.1
    """Information of any run in a plateau, where everything tells more than one more repetition would."""
    information_stall_from: int = 4
    """Runs without a keep from which it is a plateau."""
    surprise_win: float = 0.2
    """Surprise of a change that was predicted not to improve and is kept."""
    complexity_per_statement: float = 0.02
    """Cost of one statement more: fifty, a long function, cost as much as a gain of 0.01 earns."""
    deletion_per_statement: float = 0.01
    """Earning of one statement less, half of what one more costs, so that adding and deleting never pays."""
    deletion_most: float = 0.1
    """Most that deleting earns: no amount of it may outweigh a gain of 0.001."""
    vram_share: float = 0.5
    """Cost of using twice the baseline's peak memory; less in proportion."""
    review_changes: int = 6
    """Changes that a review lists: an experiment is one idea and rarely moves more."""
    review_conjectures: int = 3
    """Conjectures that a review repeats: the whole list is in the summary."""

    # Views --------------------------------------------------------------------------------------------------------
    chart_usual_share: float = 0.9
    """Share of scores that a chart's height is made for: a wild run must not press the others flat."""
    chart_stretch: float = 2.2
    """How far above the best the height reaches, in times the way from the baseline to the best."""
    chart_label_air: float = 5.0
    """Air around a chart's label, in its own units: a third of a letter's height."""
    pause_s: float = 1_800.0
    """A gap between two runs above which nobody was working: proposing takes minutes, a night's break takes hours."""
    diff_chars: int = 12_000
    """Length of one difference on the page: 300 changed lines, more than an experiment has."""
    diffs_chars: int = 3_000_000
    """Length of all differences on the page: 1,000 usual ones fit, and a phone still opens it at once."""
    bet_p: float = 0.1
    """Least P(better) of a near miss that the page proposes to build on: below it, it is a loss."""
    bets_shown: int = 3
    """Next bets on the page: what a person will look at before coffee."""
    live_refresh_s: float = 1.0
    """Seconds between two frames of watch: train.py itself prints every five seconds."""
    live_verdicts: int = 12
    """Latest verdicts in watch: what a high terminal has room for; a terminal of 24 lines shows four."""
    live_log_bytes: int = 262_144
    """How much of the growing log watch reads: two hours of train.py's progress lines."""
    low_disk_bytes: int = 2 * 1024**3
    """Free disk below which doctor warns: a night of 1,000 runs leaves 1 GB."""
    low_memory_bytes: int = 3 * 1024**3
    """Free memory below which doctor warns: torch and a pocket run take about 2 GB."""
    probe_timeout_s: float = 60.0
    """Limit of asking torch in a process of its own: seconds when warm, long on a cold disk."""

    # Search and decisions -----------------------------------------------------------------------------------------
    keep_p: float = 0.88
    """P(better) from which a change is kept: the mean over all kept ones then lies well above, so that fewer than one
    kept change in twelve is not better."""
    own_keep_p: float = 0.75
    """P(its own last change is for the better) that a configuration made from an unkept one needs besides: it is not
    kept for what its parent did."""
    discard_p: float = 0.35
    """P(better) below which a change is discarded without another run: it rarely comes back from there."""
    noise_least_n: int = 3
    """Degrees of freedom that the noise needs from replicates; before that a near tie is measured again in any case,
    which tells the noise as well."""
    replicate_ratio: float = 1.0
    """Standard error of a near tie, in sizes of a typical effect, above which another seed is worth its run; below it
    a new idea made from the undecided one tells more."""
    replicates_share: float = 0.33
    """Share of all runs that near ties may cost: where noise is as large as what ideas do, as on a busy laptop, more
    of them would leave no runs for ideas."""
    effect_size_share: float = 0.75
    """Share of effects, the smaller ones, whose size counts as typical: disasters don't measure what is at stake."""
    replicates_most: int = 4
    """Runs of one configuration that a near tie is worth; what is still undecided then differs by less than matters."""
    tie_keep_p: float = 0.75
    """P(better) from which a near tie is kept after its last replicate."""
    simpler_margin_bpb: float = 0.0002
    """How much worse a shorter program may be and still be kept: the public loop's own margin."""
    simpler_p: float = 0.9
    """P(no worse than that margin) that a shorter program needs."""
    suspect_factor: float = 3.0
    """A gain this many times the largest believed so far is looked at before it is believed."""
    suspect_least_bpb: float = 0.015
    """Gain below which nothing is suspected: the largest honest single gain that is published is 0.0119."""
    effect_least_bpb: float = 0.0002
    """Smallest scale of effects told apart from none: half the smallest noise ever measured."""
    effect_scales: int = 10
    """Scales, each twice the one before: from 0.0002 to 0.1 bpb, beyond any effect seen."""
    effect_null_share: float = 0.01
    """Share of ideas assumed to do nothing at all, before any was measured."""
    effect_worse_share: float = 0.5
    """Share of the others assumed to be for the worse rather than either way: one idea in five or six helps."""
    effect_prior_n: float = 20.0
    """Weight, in effects, of these assumptions."""
    effect_sweeps: int = 20
    """Sweeps of expectation and maximisation: later ones move no decision."""
    effects_remembered: int = 300
    """Effects that the distribution is learned from, the latest ones: later ideas are smaller than early ones."""
    effect_least_weight: float = 1e-6
    """Share below which a part of the mixture is left out of sums."""
    learn_effects_every: int = 5
    """Results between two lessons about effects in a night: one result changes little, and a lesson costs 1 ms."""
    learn_effects_sweeps: int = 3
    """Sweeps of each such lesson, which goes on where the last one ended."""
    baseline_runs: int = 2
    """Runs of the baseline before anything else: they tell the noise, and every gain is counted from it."""
    baseline_runs_most: int = 4
    """Runs of the baseline at most, where noise is large against what ideas do."""
    baseline_error_bpb: float = 0.0005
    """Standard error up to which the baseline is known well enough: a small effect's size."""
    work_ratio: float = 1.0
    """Standard deviation of belief, in sizes of a typical effect, above which what is worked on is measured again."""
    work_runs_most: int = 3
    """Runs of one configuration for that reason at most."""
    least_cost: float = 0.5
    """Cost of the shortest crash, in usual runs: thinking of it took its time as well."""
    most_cost: float = 2.0
    """Cost of the longest run, in usual runs: nothing runs much longer than its budget."""
    credit_fade: float = 0.97
    """Share of a run's weight that is left after the next one: half after 23 runs, for skills change within a night."""
    credit_most: float = 4.0
    """Largest credit of one run, in recent averages: one lucky hit is no skill."""
    emitter_start: float = 0.7
    """What ordering an emitter is assumed to leave of a free agent's gain, before it was tried: in the public loop's
    simulated nights random orders reach 83 % of free choice."""
    mode_prior_n: float = 20.0
    """Weight of that assumption, in runs."""
    emitter_prior_n: float = 6.0
    """Weight, in runs, of the assumption that emitters are equally good."""
    category_prior_n: float = 6.0
    """Weight, in runs, of the assumption that categories are equally good."""
    category_share: float = 0.8
    """Share of an even spread over the categories below which one is ordered: what the agent's taste leaves out."""
    category_trust: float = 0.25
    """Power of a category's factor in its share: at 0 all get the same, at 1 learning decides alone."""
    emitter_floor: float = 0.04
    """Share of orders that go to the emitter with the fewest runs lately, whatever is known of it: each stays alive."""
    order_p: float = 0.9
    """P(ordering an emitter brings more than leaving the agent free) from which it is ordered."""
    phase_crashes: int = 2
    """Crashes among them from which the night is to be stabilized."""
    phase_wins: int = 2
    """Improvements among them from which there is something to exploit."""
    phase_stall: int = 6
    """Experiments without an improvement after which near misses are combined."""
    near_miss_age: int = 25
    """Experiments after which a near miss is too old to be combined: the tip has moved on."""
    near_miss_p: float = 0.2
    """P(better than the tip) from which a change that was not kept is a near miss."""
    threshold_margin_bpb: float = 0.0005
    """Margin of the policy "threshold": about one standard deviation of a run at the published size."""
    rounding_bpb: float = 1e-7
    """Noise of runs that repeat exactly: scores are printed with six decimals."""

    # Emitters and mutations ---------------------------------------------------------------------------------------
    official_context: int = 2048
    """Tokens of context of the official profile: prepare.py's, which the control plane does not import."""
    pocket_context: int = 256
    """The same of the pocket profile."""
    most_growth: float = 2.0
    """Factor by which one proposal may grow parameters or activations: more runs out of memory, or of time."""
    most_shrinking: float = 4.0
    """Factor by which it may shrink them: a much smaller model is another question."""
    local_reach: float = 1.0
    """How far the local tuner looks, in usual steps of a constant."""
    wide_reach: float = 3.0
    """How far everyone else looks: past the next optimum, short of nonsense."""
    tpe_startup_trials: int = 4
    """Values of a constant that are drawn evenly before the sampler models what is known: fewer show no shape."""
    values_a_constant: int = 6
    """Values drawn for one constant before another constant has its turn."""
    least_move: float = 0.15
    """Share of a usual step below which a value counts as the one already measured: noise hides smaller moves."""
    crash_penalty_bpb: float = 0.02
    """What a crash counts for the sampler, above the worst score known: it should go back, not far away."""
    category_favour: float = 8.0
    """How much oftener an idea is drawn that changes what the plan asks for."""
    success_favour: float = 2.0
    """How much oftener the local tuner draws a constant whose moves were gains so far."""
    merges_tried: int = 12
    """Pairs of recorded changes that the recombinator tries before it gives up: conflicts are usual."""
    looks_an_anomaly: int = 2
    """Looks that one anomaly is worth before it is left alone."""
    anomalies_tried: int = 6
    """Anomalies that are halved before giving up, for the same reason."""
    trend_memory: int = 20
    """Latest configurations that make a trend: a night's last hours."""
    fashion_share: float = 0.5
    """Share of the latest experiments from which one kind of change is a fashion: half of them."""
    subject_chars: int = 100
    """Longest commit subject: what a log shows in one line."""
    brief_chars: int = 2_200
    """Longest brief for an agent: about 550 tokens, facts first."""
    brief_neighbours: int = 5
    """Earlier results nearby that a brief tells: what an agent can weigh at once."""
    brief_diff_lines: int = 6
    """Changed lines of a recorded diff that a brief shows: most experiments change fewer."""
    in_flight_stride: int = 1_000_003
    """Distance of the seeds that plans made side by side draw from: a prime, so that night seeds don't meet them."""
    quote_subject_chars: int = 90
    """Length at which text of others (subjects, signatures) is cut in a brief."""

    # Agents -------------------------------------------------------------------------------------------------------
    autonomy_hours: float = 24.0
    """Hours after which the loop lets go unless another limit was set: a night and the day after it."""
    idle_continuations: int = 3
    """Continuations without a commit, a run or new words after which the loop ends: a fourth would change nothing."""
    stuck_continuations: int = 12
    """The same where the agent's words did change: waiting for one run at five minutes a poll takes two or three."""
    order_words: int = 700
    """Longest order, in words: about 1,000 tokens, so that a night of orders does not fill a context."""
    context_chars: int = 6_000
    """Longest text that a hook adds to a context: about 1,500 tokens; Codex itself cuts at some 10,000 characters."""
    codex_minutes: float = 20.0
    """Longest that one codex exec may take for one idea: reading, thinking and one edit take 2 to 10."""
    codex_tokens: int = 2_000_000
    """Tokens that one codex exec may use, read again at every step and mostly cached; more is an agent in circles."""
    codex_attempts: int = 4
    """Attempts at one idea before the night goes on without it."""
    codex_backoff_s: float = 30.0
    """First wait after a refused request; it doubles with every further one."""
    codex_backoff_most_s: float = 1_800.0
    """Longest wait: a rate limit of hours is tried twice an hour."""


SETTINGS = Settings()
"""The values in use."""
