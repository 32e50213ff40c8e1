"""What prompts say about going on: a table of what people type, and what each must come to."""

from __future__ import annotations

import pytest

from research.agents.hooks.events import _SIGNS
from research.agents.phrases import intent, limits

ON = [
    "Continue autonomously.",
    "continue autonomous",
    "Please go autonomous now.",
    "go autonomously",
    "Never stop.",
    "NEVER STOP",
    "Continue the loop.",
    "Resume the autonomous research loop.",
    "resume the loop",
    "Restart the experiment loop, please.",
    "Start the autoresearch loop.",
    "start the loop",
    "Okay, start the research loop and never stop.",
    "kick off a new experiment",
    "Hi have a look at program.md and let's kick off a new experiment! let's do the setup first.",
    "continue autonomously, do not pause to ask me",
    "Go autonomous. Never stop, do not pause to ask me.",
    "never stop, do not pause",
    "Don't stop.",
    "don’t stop until I'm back",
    "Do not stop to ask me anything.",
    "Do not pause between experiments.",
    "Work autonomously through the night.",
    "Enable autonomy.",
    "Stop asking me. Go autonomous.",
    "Explain the plan, then start the loop.",
    "Use a larger batch first. Then continue the loop.",
    "go autonomous, stop asking",
    "Keep experimenting.",
    "Can you start the autonomous experiment loop?",
    "Could you please continue the loop?",
    "Resume autonomous research",
    "Let the loop run all night",
    "Carry on autonomously please",
    "Keep the loop going",
    "turn on the loop",
    "Turn autonomy on",
    "Start the loop for 20 runs, then stop.",
    "I'm going to bed. Never stop.",
]
OFF = [
    "stop",
    "Stop.",
    "STOP!",
    "Please stop now.",
    "please stop",
    "halt",
    "Halt the loop.",
    "quit",
    "pause",
    "Pause the experiments.",
    "Pause here, please.",
    "Stop the experiment loop",
    "stop the loop",
    "End the loop.",
    "okay, stop here.",
    "Stop after this run.",
    "stop after the current experiment",
    "Don't continue.",
    "Please don’t continue.",
    "Do not continue the loop.",
    "Summarize only.",
    "summarize only, please",
    "Hold here.",
    "hold on",
    "Disable autonomy.",
    "Turn off autonomy.",
    "Do not start the research loop yet",
    "Finish this run and then stop.",
    "Finish this run, then stop.",
    "Continue the loop for now, but stop after this run.",
    "Great work! Now stop.",
    "Can you please stop?",
    "Could you stop the loop?",
    "That's enough for today.",
    "Do not go autonomous.",
    "Write up the results. Stop experimenting.",
    "I said stop.",
    "You can stop now.",
    "no more experiments",
    "No more runs tonight.",
    "Cancel the loop.",
    "Interrupt the loop",
    "Turn the loop off",
    "switch autonomy off please",
    "Do not run any more experiments.",
    "Do not start a new experiment.",
    "Will you stop now?",
]
NOTHING = [
    "",
    "Explain the pause token.",
    "explain what the pause token does",
    "Add a 50 ms pause between retries.",
    "Add a 50 ms pause between retries in the downloader",
    "What would happen if I told you to go autonomous?",
    "Should we stop?",
    "Did the loop stop?",
    "Why did you stop the loop?",
    "How do I start the loop?",
    'What does "never stop" mean in program.md?',
    'The file says "NEVER STOP" in capitals.',
    "Rename `stop the loop` to `end the loop` in the docs.",
    "```\nstop\n```",
    "> stop\nwhat does the line above mean",
    "Grep for 'stop the loop' in research/.",
    "Stop words should be removed from the tokenizer.",
    "Stop using dropout in train.py.",
    "Pause tokens are an interesting idea.",
    "Explain how to start and stop the loop.",
    "Show me the results so far.",
    "Use early stopping.",
    "If val_bpb drops below 0.98, stop.",
    "Add a stop button to the report.",
    "Implement a pause feature",
    "The run stopped after 10 minutes.",
    "list all experiments that stopped early",
    "Continue with the optimizer idea.",
    "Fix the halt in the data loader",
    "What does 'disable autonomy' do?",
    "Quit using Muon for embeddings",
    "I wonder whether we should go autonomous.",
    "Can you explain how to start the loop?",
    "Can you stop the warmup earlier?",
    "No more runs should fail like that",
    "Don't make any more changes to prepare.py",
    "Keep the for loop short",
    "Cancel the weight decay on norms",
    "He told me never to stop the loop",
    "Stop the docs from rendering twice",
    "Tell me when the loop stops",
]


@pytest.mark.parametrize(
    ("prompt", "wish"),
    [*((text, "on") for text in ON), *((text, "off") for text in OFF), *((text, None) for text in NOTHING)],
)
def test_prompts_are_read_by_intent(prompt: str, wish: str | None):
    assert intent(prompt) == wish


RESUMES = ["continue", "Continue.", "please continue", "Go on.", "ok, keep going", "carry on!"]


@pytest.mark.parametrize("prompt", RESUMES)
def test_a_plain_continue_only_resumes(prompt: str):
    assert intent(prompt) == "resume"


def test_every_order_has_a_sign_that_the_hook_looks_for():
    for prompt in (*ON, *OFF, *RESUMES):
        assert any(sign in prompt.casefold() for sign in _SIGNS), prompt


def test_the_table_is_large():
    assert len({*ON, *OFF, *NOTHING}) == len(ON) + len(OFF) + len(NOTHING) >= 95


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("Go autonomous for 20 runs.", {"runs": 20}),
        ("continue autonomously for at most 8 hours and up to $30", {"hours": 8, "usd": 30}),
        ("Go autonomous.", {}),
        ("start the loop, max 12 experiments", {"runs": 12}),
    ],
)
def test_limits_are_read(prompt: str, named: dict[str, float]):
    assert limits(prompt) == named
