"""Thresholds from numbers to a judgement: the noise, the effects, the rule, the score and the review."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class VerdictSettings:
    """What verdict/ decides by."""

    # Noise and intervals ----------------------------------------------------------------------------------------------
    noise_prior_sd_bpb: float = 0.0004
    """Noise of one run before any replicate, in bpb: a published seed pair on an H100 lies 0.00070 apart, and the same
    code on three hosts at 0.997900, 0.997591 and 0.997426; pooled, with three degrees of freedom, 0.00035."""
    noise_prior_n: float = 2.0
    """Replicates that this guess is worth: it comes from a handful of runs, and at other sizes the noise is ten times
    that, so a few replicates must outweigh it."""
    interval_share: float = 0.95
    """Share of belief inside every interval shown: what people expect an interval to be."""
    rounding_bpb: float = 1e-7
    """Noise of runs that repeat exactly: scores are printed with six decimals."""

    # The rule ---------------------------------------------------------------------------------------------------------
    keep_p: float = 0.7
    """P(better) from which a change is kept: most kept ones lie far above it, so that in simulated nights one in
    fourteen is not better; a stricter bar loses more true gains than false ones (docs/search.md, acceptance)."""
    own_keep_p: float = 0.75
    """P(its own last change is for the better) that a configuration made from an unkept one needs besides: it is not
    kept for what its parent did."""
    discard_p: float = 0.35
    """P(better) below which a change is discarded without another run: it rarely comes back from there."""
    min_noise_n: int = 3
    """Degrees of freedom that the noise needs from replicates; before that a near tie is measured again in any case,
    which tells the noise as well."""
    replicate_ratio: float = 1.0
    """Standard error of a near tie, in sizes of a typical effect, above which another seed is worth its run; below it
    a new idea made from the undecided one tells more."""
    replicates_share: float = 0.33
    """Share of all runs that near ties may cost: where noise is as large as what ideas do, as on a busy laptop, more
    of them would leave no runs for ideas."""
    max_replicates: int = 4
    """Runs of one configuration that a near tie is worth; what is still undecided then differs by less than matters."""
    tie_keep_p: float = 0.7
    """P(better) from which a near tie is kept after its last replicate."""
    simpler_margin_bpb: float = 0.0002
    """How much worse a shorter program may be and still be kept: the public loop's own margin."""
    simpler_p: float = 0.9
    """P(no worse than that margin) that a shorter program needs."""
    suspect_factor: float = 3.0
    """A gain this many times the largest believed so far is looked at before it is believed."""
    min_suspect_bpb: float = 0.015
    """Gain below which nothing is suspected: the largest honest single gain that is published is 0.0119."""
    suspect_share: float = 0.025
    """Share of the incumbent's val_bpb below which no gain is suspected: a whole published night gained 1.2 %, the best
    known session 2.8 %; in absolute terms a small model's honest gains are larger than a large one's."""
    incumbent_stays_p: float = 0.5
    """P(better than the one kept before) below which an incumbent that was measured again goes: an even chance, since
    either must stand and the one before was measured as well."""

    # Effects ----------------------------------------------------------------------------------------------------------
    effect_size_share: float = 0.75
    """Share of effects, the smaller ones, whose size counts as typical: disasters don't measure what is at stake."""
    min_effect_bpb: float = 0.0001
    """Smallest scale of effects told apart from none: half the smallest noise ever measured."""
    effect_scales: int = 13
    """Scales, each twice the one before: from 0.0001 to 0.4 bpb, beyond any effect seen, on small models too."""
    effect_null_share: float = 0.01
    """Share of ideas assumed to do nothing at all, before any was measured."""
    effect_better_share: float = 0.2
    """Share of the others assumed to be for the better: 22 of 125 runs of the best published session were kept."""
    effect_better_bpb: float = 0.0004
    """Assumed size of what helps: 14 of those 22 gains are below 0.0007, lucky ones among them."""
    effect_worse_bpb: float = 0.0016
    """Assumed size of what does not: the published night's median change is 0.0020 for the worse."""
    effect_prior_n: float = 10.0
    """Weight, in effects, of these assumptions."""
    effect_sweeps: int = 20
    """Sweeps of expectation and maximisation: later ones move no decision."""
    effects_remembered: int = 300
    """Effects that the distribution is learned from, the latest ones: later ideas are smaller than early ones."""
    min_effect_weight: float = 1e-6
    """Share below which a part of the mixture is left out of sums."""

    # What parents hear of their children ------------------------------------------------------------------------------
    heard_trust: float = 0.25
    """Power of what each child says of its parent's value (0: nothing, 1: as if children were drawn independently):
    those of one parent fail together, late in a night or in a barren place, and taken at their word they talk a good
    incumbent down, which doubles the false keeps at small noise (docs/search.md)."""
    max_children: int = 100
    """Latest configurations that are heard: what stands has its children among them, and a plan for a long history
    replays it, so that it must not hear all of it over and over."""
    heard_points: int = 33
    """Possible values of a parent that are told apart."""
    heard_reach: float = 5.0
    """How far they lie from the mean of its runs at most, in standard errors: further off nothing is luck any more."""
    heard_errors: int = 32
    """Errors in an octave for which densities are worked out: the nearest is at most 1.1 % off, while what is known of
    the noise is seldom good to 10 %, and a plan that replays a night asks for the same ones over and over."""
    heard_step: float = 0.125
    """Distance of the tabulated densities of effects, in asinh of standard errors: between them the logarithm bends by
    less than 0.002."""

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
    """Runs without a keep from which it is a plateau."""
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
    """How far above the incumbent a loss is still near: about two sd of one run at the official profile."""
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
    min_cached_runs: int = 500
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
