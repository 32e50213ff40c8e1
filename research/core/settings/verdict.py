"""Thresholds of the room verdict: the noise, the effects, the rule, the score, the review and the memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class VerdictSettings:
    """The thresholds that the room verdict decides by."""

    # Noise and intervals ----------------------------------------------------------------------------------------------
    repeat_sd_bpb: float = 0.0003
    """Prior median of the sd of two runs of one code and one seed, in bpb: ten repeats on two H200 at 60 s."""
    repeat_log_sd: float = 0.5
    """Prior sd of its logarithm: 95 % of the prior lies within a factor of 2.7."""
    seed_sd_bpb: float = 0.002
    """Prior median of the sd of seeds, in bpb: on a GPU, repeats of one seed differ by about 0.0003, seeds by 0.0036 at
    60 s, 0.0010 at 120 s, 0.0013 at 300 s."""
    seed_log_sd: float = 0.7
    """Prior sd of its logarithm: 95 % of the prior lies within a factor of four."""
    interaction_sd_bpb: float = 0.0008
    """Prior median of the sd of a change's effect from seed to seed, in bpb: 0.001 for two changes at 60 s."""
    interaction_log_sd: float = 0.6
    """Prior sd of its logarithm: 95 % of the prior lies within a factor of 3.3."""
    pocket_repeat_sd_bpb: float = 0.01
    """The same median for repeats in the pocket profile: six runs of one program on six seeds had 0.019."""
    pocket_seed_sd_bpb: float = 0.015
    """The same median for seeds in the pocket profile: the rest of those 0.019."""
    pocket_interaction_sd_bpb: float = 0.008
    """The same median for a change's effect from seed to seed in the pocket profile."""
    pocket_log_sd: float = 0.8
    """Prior sd of the logarithms in the pocket profile: machines differ by a factor of four."""
    sd_grid_points: int = 11
    """Points of the grid over each standard deviation: neighbours differ by less than the data can tell."""
    sd_grid_reach: float = 2.5
    """Distance from the median to the outermost values, in prior sds of the logarithm: 99 % of the prior."""
    max_compared_changes: int = 400
    """Latest changes with two seeds from which the interaction is estimated: known to 4 % by then."""
    condition_correlation: float = 0.5
    """Assumed correlation of a seed's effects on two machines, or sets of initial values: halfway, unmeasured."""
    paired_strata: int = 4
    """Strata of the noise's posterior by the sd of a paired difference, on which decisions depend most."""
    seed_strata: int = 2
    """Strata into which each of them is cut by the sd of seeds."""
    kept_values_share: float = 0.5
    """Share of its parent's tensors that a configuration must begin with alike to share the effects of its seeds."""
    interval_share: float = 0.95
    """Share of the probability inside every interval shown: what people expect an interval to be."""
    rounding_bpb: float = 1e-6
    """Smallest standard deviation of anything: scores are printed with six decimals."""

    # The rule ---------------------------------------------------------------------------------------------------------
    sure_p: float = 0.977
    """P(better) from which a change is kept on one seed's word: two standard errors of the paired difference."""
    confirm_p: float = 0.65
    """P(better) from which a change is worth a second seed, chosen by simulation (docs/search.md)."""
    keep_p: float = 0.85
    """P(better) from which a change is kept after its second seed; chosen by simulation (docs/search.md)."""
    max_seeds: int = 2
    """Seeds that a decision takes: in simulation a third one costs more ideas than it saves mistakes."""
    simpler_margin_bpb: float = 0.0002
    """Bpb by which a shorter program may be worse and still be kept: the public loop's own margin."""
    simpler_p: float = 0.8
    """P(no worse than that margin) that a shorter program needs."""
    suspect_factor: float = 3.0
    """A gain this many times the largest so far is measured again before it is kept."""
    min_suspect_bpb: float = 0.015
    """Gain below which nothing is suspected: the largest honest single gain that is published is 0.0119."""
    suspect_share: float = 0.025
    """Share of the incumbent's val_bpb below which no gain is suspected: a whole published night gained 1.2 %, the best
    known session 2.8 %; in absolute terms a small model's honest gains are larger than a large one's."""
    incumbent_stays_p: float = 0.5
    """P(better than the one kept before) below which an incumbent measured again goes: an even chance."""

    audit_factor: float = 4.0
    """Standard deviations of the difference by which a gain on val must be missing on the audit text to be suspect: in
    simulation at most 1 honest run in 200 that is about to be kept, with few runs to estimate the spread from."""
    audit_share: float = 0.5
    """Share of the gain on val from which the audit text confirms it: texts differ in how much a change helps."""
    audit_prior_n: float = 8.0
    """Weight of the assumed spread, as a number of configurations."""
    audit_sd_bpb: float = 0.0003
    """Assumed sd of audit minus val from change to change under one seed, in bpb: two programs, two seeds, 120 s on an
    H200, gave 0.0001; other changes move more."""
    pocket_audit_sd_bpb: float = 0.003
    """The same in the pocket profile: 97 programs of 30 s gave 0.004 on each of two seeds, 0.002 without the few that
    are far worse. Of 3,881 pairs of them with a gain on val above 0.008, at most 4 were denied."""
    mad_to_sd: float = 1.4826
    """Standard deviations in a median absolute deviation of a normal distribution."""

    throughput_tolerance: float = 0.05
    """Share by which the tokens per second of two runs of one shape may differ: on one GPU they agree within 1 %."""
    shape_tolerance: float = 0.01
    """Share by which size, tokens of a step and memory may differ between programs of one shape."""

    # Effects ----------------------------------------------------------------------------------------------------------
    effect_size_share: float = 0.75
    """Share of effects, the smaller ones, whose size counts as typical: disasters don't measure what is at stake."""
    min_effect_bpb: float = 0.0001
    """Smallest size of effects told apart from none: a third of the noise of repeats."""
    effect_scales: int = 10
    """Components of the mixture of effects, each three times as wide as the one before: from 0.0001 to 2 bpb, beyond
    any effect seen, on small models too."""
    effect_usual_bpb: float = 0.0016
    """Assumed size of what a change does: the published night's median change is 0.0020 for the worse, and 14 of the 22
    gains of the best session are below 0.0007."""
    effect_prior_n: float = 10.0
    """Weight, in effects, of these assumptions."""
    effects_remembered: int = 300
    """Effects that the distribution is learned from, the latest ones: later ideas are smaller than early ones."""
    learning_steps: int = 6
    """Steps of expectation and maximisation: later ones move no decision."""

    # Score ------------------------------------------------------------------------------------------------------------
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
    """Runs without a keep from which the search is on a plateau."""
    surprise_win: float = 0.2
    """Surprise of a change that was predicted not to improve and is kept."""
    complexity_per_statement: float = 0.02
    """Cost of one statement more: fifty, a long function, cost as much as a gain of 0.01 earns."""
    deletion_per_statement: float = 0.01
    """Earning of one statement less, half of what one more costs, so that adding and deleting never pays."""
    max_deletion: float = 0.1
    """Most that deleting earns: no amount of it may outweigh a gain of 0.001."""
    vram_share: float = 0.5
    """Cost of using twice the baseline's peak memory; less in proportion."""

    # Review -----------------------------------------------------------------------------------------------------------
    review_changes: int = 6
    """Changes that a review lists: an experiment is one idea and rarely moves more."""
    review_conjectures: int = 3
    """Conjectures that a review repeats: the whole list is in the summary."""

    # Memory: niches, near-misses, conjectures, surprises and alerts.

    niche_params_m: tuple[float, ...] = (25.0, 75.0, 150.0)
    """Millions of parameters at which a size bucket begins: models differ by factors, not percents."""
    niche_memory_gb: tuple[float, ...] = (20.0, 40.0, 60.0)
    """GiB of peak memory at which a bucket begins: cards of 24, 48 and 80 GB, with some air."""
    near_miss_bpb: float = 0.0015
    """Loss against the incumbent up to which the score's novelty and information count: the public loop's."""
    near_miss_p: float = 0.4
    """P(better than the incumbent) from which a discarded change is a near miss: about even."""
    near_misses_kept: int = 12
    """Near misses that are remembered: enough for pairs to combine, few enough to read."""
    recent_kept: int = 20
    """Configurations that count as recent: one evening's worth."""
    phase_window: int = 5
    """Latest configurations whose crashes and gains tell the phase of the search."""
    min_conjecture_n: int = 3
    """Configurations behind a conjecture: two agree by accident half the time."""
    spread_prior_n: float = 2.0
    """Weight, in configurations, of the assumed spread of effects: soon overruled, yet never zero after two."""
    spread_prior_bpb: float = 0.0015
    """Assumed sd of what one idea does: the published night's median effect is about 0.0020."""
    stabilize_crashes: int = 2
    """Crashes among the latest few that call for steadiness before new ideas."""
    explore_stall: int = 4
    """Configurations without a kept one after which the neighbourhood counts as searched."""
    recombine_stall: int = 6
    """The same after which near misses are worth putting together."""
    exploit_keeps: int = 2
    """Kept changes among the latest few from which there is something to exploit."""
    plateau_stall: int = 5
    """Configurations without a kept one that are a plateau: with a third of ideas gaining, one chance in eight."""
    conjectures_shown: int = 4
    """Conjectures that are told at once."""
    anomaly_sd: float = 3.5
    """Standard deviations from the usual effects at which a result is surprising: one honest result in two thousand."""
    anomalies_kept: int = 8
    """Anomalies that are remembered; older ones were looked at or will not be."""
    no_fly_shown: int = 3
    """Failure patterns that are told at once."""
    collapse_window: int = 8
    """Latest emitters that are looked at for a collapse onto one."""
    collapse_count: int = 6
    """Number of them by one emitter that is a collapse."""
    warnings_shown: int = 6
    """Warnings shown at once."""
    elites_shown: int = 4
    """Elites in the summary; the archive shows all."""
    near_misses_shown: int = 4
    """Near misses in the summary, the latest: two pairs to combine."""
    summary_idea_chars: int = 60
    """Longest beginning of an idea in a line of the summary, in characters: a change of one constant fits."""

    # The forecast of a run that is going on ---------------------------------------------------------------------------
    forecast_prior: tuple[float, float, float, float] = (0.36, 0.75, 0.0009, 0.0008)
    """Prior of the forecast: its slope (bpb per nat), the fraction of the budget from which that holds (before it, in
    proportion, since losses and gaps are larger), the scale of its error at the end of the budget (bpb), and what is
    added to that scale at the beginning (bpb). The slope is what a nat a token is worth at four bytes a token; the
    error is that of 34 pairs of runs on H200 at 60 to 300 s."""
    forecast_pocket_prior: tuple[float, float, float, float] = (0.28, 0.5, 0.006, 0.03)
    """The same in the pocket profile, from 194 runs on one machine of 32 cores."""
    forecast_freedom: int = 4
    """Degrees of freedom of the error's t distribution, an even number."""
    forecast_prior_n: float = 20.0
    """Finished runs that the prior counts as."""
    forecast_steps: int = 20
    """Steps of the fit: by then nothing moves in the fourth digit."""
