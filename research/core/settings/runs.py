"""Thresholds of the room runs: reading logs, launching, sampling a GPU, honest scores, racing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class RunSettings:
    """The thresholds that the room runs decides by, and the launcher in lab."""

    # Reading logs -----------------------------------------------------------------------------------------------------
    log_head_bytes: int = 65_536
    """Bytes of a log's beginning that are read: the settings that a train.py prints fit many times over."""
    log_tail_bytes: int = 1_048_576
    """Bytes of a log's end that are read: a deep traceback with its causes is under 100 kB."""
    log_line_chars: int = 4_000
    """Length at which a line of a log is cut when it is read: the patterns of failures take time with its square."""
    tail_lines: int = 20
    """Lines of a log that are shown: a traceback's end fits, a screen is not filled."""
    line_chars: int = 300
    """Length at which one shown log line is cut: progress bars and tensors are longer and say nothing."""
    quote_chars: int = 4_000
    """Longest reason of a verdict in a review: about a thousand tokens, so that it can't flood a context."""
    number_chars: int = 40
    """Longest spelling of a number in a summary; Python would read a million digits, nobody prints them."""
    taken_memory_gib: float = 1.0
    """GPU memory that other processes must hold before they are to blame for the lack of it: a desktop holds less."""
    own_memory_factor: float = 1.5
    """Factor of torch's own memory up to which a process counts as this run: CUDA's context and cache come on top."""
    signature_chars: int = 160
    """Length of a failure signature: the message's beginning names the fault, its end repeats values."""

    # Launching --------------------------------------------------------------------------------------------------------
    default_timeout_minutes: float = 10.0
    """Time limit of a run, on the wall: budget, compiling and scoring, or a pocket run with a tenth of a core."""
    small_gpu_timeout_minutes: float = 25.0
    """The same on a GPU below 40 GB: one 30 times as slow as an H200, which scores in 10 s, needs 15 minutes."""
    default_core_workers: int = 4
    """Most processor cores that a night takes unasked: a pocket run needs 1 GB of memory, and a person the rest."""
    kill_grace_s: float = 5.0
    """Seconds between passing a signal on and killing: enough to write a file, short for someone waiting."""
    drain_s: float = 2.0
    """Seconds to read on after the command's end: what is in the pipe by then was written by it."""
    min_free_bytes: int = 64 * 1024 * 1024
    """Free disk below which nothing is launched: a run leaves about 1 MB, a full disk tears records."""
    max_output_bytes: int = 32 * 1024 * 1024
    """Output of a run that is kept: runs print 0.2 MB; the log and the shell's copy of it fit into min_free_bytes."""
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

    # Scores -----------------------------------------------------------------------------------------------------------
    max_fact_chars: int = 20_000
    """Longest reported mapping (hashes of initial values, kernels) that is kept with a run: some 500 tensors."""
    printed_bpb_tolerance: float = 1e-6
    """Largest honest difference between the printed val_bpb (six decimals) and score.json's."""
    min_budget_share: float = 0.5
    """Below this share of its budget a run did not train what it says."""
    max_budget_share: float = 1.1
    """Above this share (and a few steps) a run trained longer than others may."""
    last_steps: float = 5.0
    """Time that the last step may take, in usual steps: it may begin just before the budget ends, on a busy machine."""
    min_handed_share: float = 0.1
    """Share of a run's tokens that prepare.py must have handed out: a run with a loader of its own has 0."""
    max_handed_share: float = 1.5
    """Largest share of a run's tokens that prepare.py may have handed out; above it, something else used the text."""
    claimed_tokens_step: float = 100_000.0
    """Tokens by which the printed total_tokens_M is rounded: it has one decimal."""
    early_steps: int = 22
    """Steps whose batches may be taken before the budget: twice the 11 uncounted ones, for what is fetched ahead."""
    pocket_early_steps: int = 4
    """The same in the pocket profile, which leaves one step uncounted and makes about a hundred."""
    phase_s: float = 180.0
    """Seconds that a phase outside the budget may always take on a GPU: an H100 compiled for 43 to 70 s."""
    pocket_phase_s: float = 10.0
    """The same in the pocket profile, in seconds of processor time: nothing is compiled there."""
    phase_factor: float = 3.0
    """Factor by which a phase may last longer than in the first run of its contract, where that is more. In the first
    run it may last this many times phase_s: nothing is known of the machine, and a baseline has no one to deceive."""
    edge_steps: float = 2.0
    """Time between the first and the last batch that may lie outside the budget, in usual steps: an uncounted step, and
    the last, which begins before the budget ends. In the pocket profile a batch eight times as large took 8.4 s."""
    wall_slack_s: float = 120.0
    """Seconds by which the runner's clock may be ahead of the run's own: uv starts, a driver is shut down."""
    wall_slack_share: float = 0.2
    """The same as a share of the run, for machines that are slow at everything."""

    # Changes ----------------------------------------------------------------------------------------------------------
    delta_entries: int = 40
    """Parts of a change that a record names: one idea has a handful; records stay small after a rewrite."""
    delta_chars: int = 200
    """Length of one of them above which it is left out: a table of numbers is no single value that moved."""

    # Racing -----------------------------------------------------------------------------------------------------------
    race_stop_p: float = 0.01
    """P(better than the incumbent) below which a run is stopped. It is asked fifteen times a run: in simulation 2 % of
    the runs that would have scored better are stopped with it, 5 % with 0.03 for more gain (docs/search.md)."""
    race_full_share: int = 10
    """One in so many runs, drawn at random, runs to the end whatever is foretold, so that the forecast is checked."""
    race_window: float = 0.06
    """Share of the budget before a point over which the training loss is averaged: that of one step scatters by 0.1."""
    race_min_lines: int = 6
    """Least lines of progress in that average: a run on a processor has fifty steps, whose rows differ by 0.1 nats."""
    race_slope_reach: float = 0.15
    """Share of the budget on either side of a point over which the slope of a loss curve is taken: over less, the rows
    that happen to come there decide it."""
    race_log_bytes: int = 32 * 1024 * 1024
    """Bytes of the incumbent's log that are read: the public script prints one line a step, some thousands."""
    race_max_tokens_off: float = 0.05
    """Share of the tokens by which two runs may differ at one fraction of the budget: with more, the rows differ."""
