"""Thresholds of the room agents: the night, the built-in agent's steps, hooks and coding clients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class AgentSettings:
    """The thresholds that the room agents decides by."""

    # Night ------------------------------------------------------------------------------------------------------------
    baseline_attempts: int = 3
    """Baselines without a score after which a night gives up: the first may run too long while all is compiled."""
    failures_in_a_row: int = 5
    """Infrastructure failures in a row after which a night ends: by then it is not a hiccup."""
    backoff_first_s: float = 10.0
    """Wait after the first infrastructure failure; it doubles each time."""
    max_backoff_s: float = 600.0
    """Longest such wait: twice a run's length, so that a night notices soon when things are back."""
    device_wait_s: float = 15.0
    """Wait before a device is tried again that another run has: a run takes minutes, and trying costs a second."""
    alike_crashes: int = 3
    """Crashes alike of as many edits in a row after which the best so far is run: does the machine fail?"""
    last_run_lengths: float = 1.25
    """Usual lengths of a run; with less time left than that, the next run counts as the night's last: runs vary."""
    clock_jump_s: float = 5.0
    """Seconds by which the clock may differ from the time that passed awake before that is a jump: drift is less."""
    refusals_in_a_row: int = 20
    """Candidates in a row that came to no run (refused, repeated, none found) after which a night ends."""
    stuck_runs: int = 30
    """Runs without a keep after which --notify reports that the night is stuck: half an evening on one GPU."""
    notify_timeout_s: float = 30.0
    """Limit of the --notify command: a message takes seconds, and a night must not wait for it."""
    max_busy_s: float = 1_800.0
    """Seconds in a row for which a night waits for a memory that another process keeps locked: a backup takes less."""
    poll_s: float = 0.05
    """Seconds between two looks at workers and signals."""
    night_ends_s: float = 60.0
    """Seconds that night --stop waits: the runs that go on get kill_grace_s, then records and page are written."""

    # The built-in agent -----------------------------------------------------------------------------------------------
    official_context: int = 2048
    """Tokens of context of the official profile: prepare.py's, which the control plane does not import."""
    pocket_context: int = 256
    """The same of the pocket profile."""
    max_growth: float = 2.0
    """Factor by which one proposal may grow parameters or activations: more runs out of memory, or of time."""
    max_shrinking: float = 4.0
    """Factor by which it may shrink them: a much smaller model is another question."""
    local_reach: float = 1.0
    """Longest move of the local tuner, in usual steps of a constant."""
    wide_reach: float = 3.0
    """Longest move of all others, in the same steps: past the next optimum, short of nonsense."""
    tpe_startup_trials: int = 4
    """Values of a constant that are drawn evenly before the sampler models what is known: fewer show no shape."""
    values_a_constant: int = 6
    """Values drawn for one constant before another constant has its turn."""
    min_move: float = 0.15
    """Share of a usual step below which a value counts as the one already measured: noise hides smaller moves."""
    crash_penalty_bpb: float = 0.02
    """Distance, in bpb, above the worst score known at which a crash counts: the sampler steps back, not far away."""
    category_favour: float = 8.0
    """Factor by which an idea of the category that the plan asks for is drawn more often than another."""
    merges_tried: int = 12
    """Pairs of recorded changes that the recombinator tries before it gives up: conflicts are usual."""
    anomalies_tried: int = 6
    """Anomalies that are halved before giving up, for the same reason."""
    idea_chars: int = 2_000
    """Longest beginning of a person's idea that is given to an agent, in characters: a page of text."""
    subject_chars: int = 100
    """Longest commit subject: what a log shows in one line."""

    # Hooks and coding clients -----------------------------------------------------------------------------------------
    autonomy_hours: float = 24.0
    """Hours after which the loop ends unless another limit was set: a night and the day after it."""
    stuck_continuations: int = 8
    """Continuations without a run or a verdict after which the loop ends: waiting for one run at five minutes
    a poll takes two or three, and Claude Code ends the turn by itself after eight."""
    order_words: int = 700
    """Longest order, in words: about 1,000 tokens, so that a night of orders does not fill a context."""
    order_words_beside_review: int = 250
    """Longest order beside reviews, of which three fill most of what a hook may add: what to type, and why."""
    context_chars: int = 6_000
    """Longest text that a hook adds to a context: about 1,500 tokens; Codex itself cuts at some 10,000 characters."""
    quoted_chars: int = 160
    """Characters of others' text (a subject, a reason, a log's line) that an order repeats: a line of a terminal."""
    refusal_chars: int = 600
    """Characters of a refused launch's reason that an order repeats: what to type is at its end."""
    reason_chars: int = 240
    """Characters of a prompt, or of a plan's or failed run's reason, that are kept or shown: enough to recognise it."""
    hook_wait_s: float = 2.0
    """Seconds a hook waits for another writer of the memory: a write takes milliseconds, and an agent waits too."""
    client_minutes: float = 20.0
    """Longest that a coding client may take for one idea: reading, thinking and one edit take 2 to 10."""
    client_tokens: int = 2_000_000
    """Tokens that it may use for one idea, read again at every step and mostly cached; more is an agent in circles."""
    client_poll_s: float = 0.2
    """Seconds between two looks at a client's output for its tokens: reading it all again takes milliseconds."""
    client_attempts: int = 4
    """Attempts at one idea before the night continues without it."""
    client_backoff_s: float = 30.0
    """First wait after a refused request; it doubles with every further one."""
    max_client_backoff_s: float = 1_800.0
    """Longest wait: a rate limit of hours is tried twice an hour."""
