"""What prompts say about going on: a table of what people type, and what each must come to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.agents.intent import SHORT_WORDS, NamedLimits, intent, read_limits

ON = [
    "Continue autonomously.",
    "continue autonomous",
    "Please go autonomous now.",
    "go autonomously",
    "Never stop.",
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
    "never mind, stop",
    "when this run is done please stop",
    "Please end autonomous continuation, I need the machine",
    "Enough experiments for today.",
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
    "Show me the results so far.",
    "If val_bpb drops below 0.98, stop.",
    "Add a stop button to the report.",
    "The run stopped after 10 minutes.",
    "list all experiments that stopped early",
    "Continue with the optimizer idea.",
    "Fix the halt in the data loader",
    "What does 'disable autonomy' do?",
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


JOINED_ON = [
    "Read program.md and start the autonomous experiment loop.",
    "Set up a fresh run on tag apr5 and start the autonomous experiment loop.",
    "Use tag apr5 and start the autonomous experiment loop",
    "Fix the crash and continue the loop",
    "Use the H100 and never stop",
    "add a branch and kick off a new experiment",
    "Change the LR to 0.04 and continue the loop.",
    "Fix the test that fails and continue the loop",
    "Fix that crash and restart the loop",
    "Fix the crash on start and continue the loop",
    "Read program.md, set up the branch and start the loop.",
    "Show me how it went and continue the loop.",
    "Can you read program.md and start the autonomous experiment loop?",
    "Explain how it works, then start the loop.",
    "Read program.md, then kick off a new experiment",
    "I want to start the loop",
    "Read program.md and go autonomous for 20 runs, then stop.",
    "Don't ask me anything and start the loop",
    "Add a branch for this and start the loop on it",
    "Set the tag to apr5 and go autonomous",
    "Use branch autoresearch/apr5, read the docs, and start the experiment loop",
    "I'd like you to read program.md and start the loop",
    "Do not stop and continue the loop",
    "I think we should continue the loop",
    "Read the README and start the loop once the baseline is done",
]
JOINED_OFF = [
    "Show me the summary and stop the loop.",
    "Print the summary and pause",
    "Explain what you did and stop the loop.",
    "I want to stop the loop",
    "I need you to stop the loop",
    "Time to stop the loop",
    "I think we should pause",
    "It's time to stop.",
    "I'd like to stop the loop",
    "Show me the results and stop.",
    "Print the summary, stop the loop",
    "Tell me what happened and stop the loop",
    "Explain why it failed and stop the loop",
    "Fix the crash and stop.",
    "Show the summary and do not continue",
    "Show the summary and stop after this run",
    "Explain why and stop the loop",
    "Could you show me the summary and stop the loop?",
    "Remove the pause and stop the loop",
    "I need to stop the loop",
    "Write a summary and stop the loop.",
    "List the runs and call it a night",
    "Show me what you have and stop the loop",
    "Fix the bug and stop after this run",
]
JOINED_NOTHING = [
    "write a function that parses and stops the loop",
    "explain how to start and stop the loop",
    "fix the bug in start and stop the loop tests",
    "what does start the loop do",
    "don't read it and start the loop",
    "add tests for pause and stop the loop",
    "Explain how to start and then stop the loop.",
    "Explain how to pause, resume, and stop the loop",
    "Explain how the hooks start and stop the loop",
    "Explain how the codex hooks block the turn and stop the loop",
    "Describe play and pause",
    "Explain start, stop and pause.",
    "Add a button to pause, resume and stop the loop",
    "Write a script to parse the log and stop the loop",
    "Set the budget and stop when it is spent",
    "Use a patience of 3 and stop when val loss rises",
    "Add a NaN check and stop the run",
    "Add a check and stop the loop when the loss is NaN",
    "Add a check if the loss is NaN and stop the loop",
    "Fix the indexing and start the loop at 1",
    "Fix the parser and continue the loop when a line is empty",
    "Make it restart and never stop",
    "Use a cosine schedule and never stop before step 100",
    "I don't want to stop the loop",
    "I don't think we should pause",
    "Time to stop the loop?",
    "I want to know how to stop the loop",
    "Stop the loop from crashing",
    "stop the loop tests",
    "Explain what happens when I pause and stop the loop",
    "Document start, stop and pause the loop",
    "Find stop words and pause tokens",
    "I think we should stop using dropout",
    "I want to pause between retries",
    "Would you recommend that we pause and stop the loop?",
    "Can you explain how to start and stop the loop?",
    "Can you write tests for start and stop the loop?",
    "Read the part about pausing and stop words",
    "Explain that you pause and stop the loop",
    "Add early stopping and stop after 3 epochs",
    "Explain what is needed to start and stop the loop",
    "Don't touch anything and start the loop",
    "grep start and stop",
    "Write down how you start and stop the loop",
    "Add the sentence on how we pause and stop the loop",
    "Show how people resume and never stop",
    "If the loss is NaN, print it and stop the loop",
    "Fix prepare.py and leave the loop alone",
    "Use a break and exit the loop",
    "Change the index and start the loop with i = 1",
    "Fix the loader and stop the loop early",
    "Add tests for pausing and stop the loop",
    "Search for resume and stop",
    "Read the docs and continue with the optimizer idea",
    "Show the words start and stop",
    "Write tests to see if we resume and stop the loop",
    "Print whether we should pause and stop the loop",
    "Add a hook so that people can pause and stop the loop",
    "Set a flag that lets me pause and stop the loop",
    "Describe in the docs how you read program.md and start the loop",
    "Write in program.md how to read it and start the loop",
    "Add a line to the README on how to set up and start the loop",
    "Show an example prompt that says to read program.md and start the loop",
    "Fix the docs so I can read it and start the loop",
    "Write a prompt like read program.md and start the loop",
    "Show an example prompt: read program.md and start the loop",
]
"""Orders behind "and" and commas, and what only looks like one there."""


SHORT_OFF = [
    "stop pls", "stop stop stop", "stop asap", "stop training", "stop what you're doing", "exit autonomous mode",
    "shut it down", "Stopp", "Hör bitte auf", "please stopp", "arrête-toi", "sotp", "stpo", "stp", "STOPP!!!",
    "stooop", "pasue", "puase please", "hlat", "qiut", "please haltt now", "arrête", "arrêtez !", "arrête tout",
    "arrête la boucle", "ça suffit", "stop s'il te plaît", "mets en pause", "para", "para ya", "para el bucle",
    "detente", "detén todo", "basta", "ya basta", "pausa por favor", "aufhören", "hör auf", "bitte aufhören",
    "hör jetzt sofort auf", "halt an", "Schluss jetzt", "mach Schluss für heute", "das reicht", "beende die Schleife",
    "stopp die Schleife bitte", "Kannst du bitte aufhören?", "Peux-tu arrêter ?", "¿Puedes parar?",
    "can you stop pls?", "ok stop", "stop now thanks", "no, stop", "nooo stop", "stop!!", "enough",
    "that's all for today", "we should pause now", "I want you to stop", "let's stop here", "stop everything",
    "end it", "kill it", "cancel it", "quit it", "turn it off", "wrap it up", "stop after this run", "I'm back. stop",
    "cancel everything", "terminate", "exit please", "end the session", "switch off",
    "disable autonomous mode please", "leave autonomous mode", "stop being autonomous",
    "Kannst du die Schleife stoppen?", "Pourrais-tu arrêter la boucle ?", "para los experimentos por favor", "¡Para!",
    "deja de experimentar", "Maybe we should pause",
]  # fmt: skip
"""At most five words, one of them a usual one for ending, in four languages, with slips."""
LONG_OFF = [
    "Thanks, this was great work so far. Please stop now.",
    "Das war sehr gut bis hierher, danke. Bitte hör jetzt auf.",
    "Merci beaucoup pour ton travail. Arrête la boucle maintenant.",
    "Muchas gracias por todo el trabajo. Detén el bucle ahora.",
    "I have seen enough results for tonight, so please stop the loop now.",
    "The last three runs all crashed and I want to look at them first. Pause the experiments.",
    "When you have finished this run, write a summary. Then stop.",
    "The GPU is needed for something else, stop after this run.",
    "Let the current run finish and then stop the loop please.", "you can stop the loop now, I am back at my desk",
    "stop the experiments and show me the results", "Please summarize what you have and stop the loop.",
    "hey, could you please stop the experiments now? I need the GPU", "ok thats enough for today, good work",
    "stop here and give me a summary of the best results", "I need my GPU back, stop please",
    "we are done here, shut down the loop", "please stop running experiments", "stop launching new runs",
    "stop the current run and wait for me", "When the current experiment is done, stop.",
    "don't run any more experiments please", "please do not launch anything else",
    "Stopp die Experimente, ich brauche die GPU",
]  # fmt: skip
"""Longer messages of which one sentence asks for it."""
MORE_ON = [
    "Start the loop. Stop after 5 runs.", "start the loop but stop after 5 runs", "run 20 experiments and then stop",
    "Start experimenting now. Stop after 30 runs or 6 hours.", "go autonomous for 20 runs, then stop",
    "Start the loop, 4 runs, budget $20, stop at 6am.", "go autonmous pls, ill be back tomorrow mornign",
    "keep running experiments all night", "yes please continue with the loop, that looks good",
    "start the loop and stop after 8 hours", "Start the loop for 3 runs and stop", "never stop",
   
    "Starte die Schleife", "starte bitte die Schleife", "lance la boucle",
    "inicia el bucle", "arbeite autonom weiter", "stop asking me, go autonomous", "keep it running",
    "Start the autonomous loop and don't stop until I tell you to.", "please begin the research loop; I'll be asleep",
    "let's go, start experimenting!", "Run autonomously until I say stop.",
    "keep going autonomously and stop only when I say so", "start the loop with a budget of $20",
    "Resume experiments", "run overnight", "Starte den autonomen Loop", "Lance les expériences en autonomie",
    "Inicia el bucle autónomo",
]  # fmt: skip
"""Starts, also with a limit, and what must not be taken for an end."""
FORBIDDEN = [
    "don't start the loop", "do not start the loop yet", "please don't go autonomous",
    "Starte die Schleife noch nicht",
]  # fmt: skip
"""Starts that are forbidden."""
MORE_NOTHING = [
    "should I stop?", "why did you stop", "did it stop?", "what does stop do", "step back", "shop around first",
    "look at the top results", "that is quite good", "what about the loss", "it is about the loss",
    "how is it going?", "quiet please", "use half the batch", "the lease case", "I paused the video",
    "it stops too early", "stop words", "pause tokens", "stop using dropout", "quit using Muon for embeddings",
    "explain the pause token", "add a stop button", "implement a pause feature", "Fix the halt in the loader",
    "use early stopping", "show me the results", "not now", "what happened in the last run?",
    "The run was stopped by the time limit, why is that?",
    "Please look at the last run and tell me why it was so slow.",
    "I would like to understand how the loop decides when to stop.",
    "Try a higher learning rate, and pause the warmup after 100 steps.",
    "the loss stopped going down after step 300, look at the schedule",
    "please continue with the optimizer idea that you had", "para la próxima vez usa muon",
    "Can you stop the warmup earlier in the schedule?", "don't use stop tokens", "Should we stop after the next run?",
    "Quelle est la meilleure perte ?", "Was ist der beste Lauf bisher?", "hello", "thanks", "ok",
    "Could you make training stop when it diverges?", "stop gradient through the router", "use stop_gradient here",
    "what's a good stopping point?", "how do I stop it", "the run halts at step 200",
    "I stopped the other job, the GPU is free now", "Do not stop the other process", "start with a smaller model",
    "run the tests", "exit code 75 means what", "cancel out the bias term", "turn off torch.compile",
    "hold the learning rate constant", "enough about lr, try the batch size", "finish the refactoring first",
    "leave the optimizer alone", "shut down dropout at the end", "no more dropout", "make the loop faster",
]  # fmt: skip
"""Other words, other uses of the words, and questions."""
REMARKED_OFF = [
    "peux-tu t'arrêter ?", "tu peux t'arrêter maintenant", "il faut t'arrêter", "tu devrais t'arrêter",
    "je veux que tu t'arrêtes", "stop. I'll restart the loop later", "ok stop. and tomorrow start the loop again",
    "stop the loop but do not stop the current run", "stop. don't stop the current run though",
    "stop the loop, we will start the loop again tomorrow", "stop now and don't stop the run that is going on",
    "hoer auf", "hör auff", "lass gut sein", "nicht weiter", "ich möchte dass du aufhörst",
    "I need the GPU now so please stop the loop", "c'est assez", '"stop"', "`stop`",
]  # fmt: skip
"""Ends with a remark, in the form of a question, quoted, or in other words."""
LIMITED_ON = [
    "kill the run and continue the loop", "stop the current run, then start the loop again",
    "start the loop and stop after 5", "start the loop, stop when I say so",
    "starte die Schleife und hör um 6 Uhr auf", "go autonomous and stop when it is 6am",
]  # fmt: skip
"""Starts with a limit, and one behind the end of a run."""
STAYS = [
    "Don't stop.", "don’t stop until I'm back", "Do not stop to ask me anything.",
    "Do not pause between experiments.", "Use the H100 and don't stop until I'm back", "do not pause", "don't stop",
    "do not stop until morning", "nicht aufhören", "hör nicht auf", "n'arrête pas", "ne t'arrête pas", "t'arrête pas",
    "no pares", "no te detengas",
]  # fmt: skip
"""Asks a loop that is on to go on, which starts none."""
LIMITS = [
    "stop after 5 runs", "stop at 6am", "stop in 2 hours", "only 3 more runs then stop", "at most 5 runs please",
    "limit it to 5 runs", "at most 20 runs of 5 minutes each",
]  # fmt: skip
"""Names a limit for a loop that is on."""
DEVELOPER_TALK = [
    "peux-tu ne pas t'arrêter trop tôt dans le code ?", "I can't stop the loop", "I cannot stop the loop",
    "I can't stop it", "make sure ctrl-c does not stop the run", "continue the loop refactoring",
    "start the loop when I say go", "the hook must not stop the loop", "the gradient does not stop",
    "never stop training early", "start a loop in train.py over the layers", "start the loop tomorrow",
    "where did you stop", "who said stop", "will it stop", "wie kann ich das stoppen", "cómo puedo parar esto",
    "mach keine Pause", "limit each run to 5 minutes", "max 5 minutes per run",
]  # fmt: skip
"""Ordinary talk about programs and questions, which turn nothing."""
ON = [*ON, *JOINED_ON, *MORE_ON, *LIMITED_ON]
OFF = [*OFF, *JOINED_OFF, *SHORT_OFF, *LONG_OFF, *FORBIDDEN, *REMARKED_OFF]
NOTHING = [*NOTHING, *JOINED_NOTHING, *MORE_NOTHING, *DEVELOPER_TALK]


@pytest.mark.parametrize(
    ("prompt", "wish"),
    [
        *((text, "on") for text in ON),
        *((text, "off") for text in OFF),
        *((text, None) for text in NOTHING),
        *((text, "resume") for text in STAYS),
        *((text, "limit") for text in LIMITS),
    ],
)
def test_prompts_are_read_by_intent(prompt: str, wish: str | None):
    assert intent(prompt) == wish


PHRASES = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parents[1] / "data" / "stop_phrases.tsv").read_text().splitlines()
]
"""More of them: language, whether a loop that is on ends or stays on, and what a person types."""


@pytest.mark.parametrize(("outcome", "prompt"), [(outcome, prompt) for _, outcome, prompt in PHRASES])
def test_a_loop_that_is_on_ends_by_what_people_type_and_by_nothing_else(outcome: str, prompt: str):
    assert (intent(prompt) == "off") == (outcome == "off")


@pytest.mark.parametrize(
    "prompt", ["continue", "Continue.", "please continue", "Go on.", "ok, keep going", "carry on!"]
)
def test_a_plain_continue_only_resumes(prompt: str):
    assert intent(prompt) == "resume"


FILLERS = [
    "please", "pls", "now", "ok", "thanks", "codex", "asap", "everything", "it", "bitte", "jetzt", "maintenant", "ya",
]  # fmt: skip
ENDINGS = [
    "stop", "halt", "pause", "quit", "abort", "stopp", "aufhören", "anhalten", "arrête", "arrêtez", "detente", "basta",
]  # fmt: skip


@settings(max_examples=150)
@given(st.sampled_from(ENDINGS), st.lists(st.sampled_from(FILLERS), max_size=SHORT_WORDS - 1), st.data())
def test_a_word_for_ending_among_a_few_others_ends_the_loop(word: str, others: list[str], data: st.DataObject):
    place = data.draw(st.integers(0, len(others)))
    words = [*others[:place], word, *others[place:]]
    assert intent(" ".join(words)) == "off"
    assert intent("don't " + " ".join(words[:4])) != "off"
    assert intent("why " + " ".join(words[:4]) + "?") is None


@pytest.mark.parametrize("word", ["stop", "pause", "quit", "abort", "arrete"])
def test_one_slip_in_a_word_is_understood(word: str):
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)]
    doubled = [word[: i + 1] + word[i:] for i in range(1, len(word))]
    for typed in {*swapped, *doubled} - {"stoop"}:
        assert intent(typed) == "off", typed


def test_common_words_are_no_slips():
    common = (
        "the a of and to in is it you that was for on are with as his they be at one have this from or had by hot "
        "word but what some we can out other were all there when up use your how said an each she which do their time "
        "if will way about many then them write would like so these her long make thing see him two has look more day "
        "could go come did number sound no most people my over know water than call first who may down side been now "
        "find any new work part take get place made live where after back little only round man year came show every "
        "good me give our under name step shop stoop spot half hall salt cause parse quite quiet suit case lease "
        "resist param pasta please table paste "
    )
    assert [word for word in common.split() if intent(word) == "off"] == []


LATE = time.struct_time((2026, 11, 30, 22, 30, 0, 0, 334, 0))


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("Go autonomous for 20 runs.", {"runs": 20}),
        ("continue autonomously for at most 8 hours and up to $30", {"hours": 8, "usd": 30}),
        ("Go autonomous.", {}),
        ("start the loop, max 12 experiments", {"runs": 12}),
        ("Start the loop. Stop after 5 runs.", {"runs": 5}),
        ("Start experimenting now. Stop after 30 runs or 6 hours.", {"runs": 30, "hours": 6}),
        ("Start the loop, 4 runs, budget $20, stop at 6am.", {"runs": 4, "usd": 20, "hours": 7.5}),
        ("run 20 experiments and then stop", {"runs": 20}),
        ("go autonomous, 5 times, 90 minutes", {"runs": 5, "hours": 1.5}),
        ("start the loop with a budget of $20", {"usd": 20}),
        ("The last 20 runs were slow, start the loop", {}),
        ("start the loop for five runs, an hour at most", {"runs": 5, "hours": 1}),
        ("start the loop for half an hour; keep it under $10", {"hours": 0.5, "usd": 10}),
        ("start the loop until 06:30 or 50 runs", {"hours": 8, "runs": 50}),
        ("start the loop for 9 hours and stop at midnight", {"hours": 1.5}),
        ("go on until noon", {"hours": 13.5}),
        ("go autonomous until 11:30 p.m., spend at most 15 dollars", {"hours": 1, "usd": 15}),
        ("start the loop for two days", {"hours": 48}),
        ("Starte die Schleife, höchstens zehn Läufe, bis 6 Uhr", {"runs": 10, "hours": 7.5}),
        ("lance la boucle pendant 3 heures, 20 essais, jusqu'à 0h30", {"runs": 20, "hours": 2}),
        ("inicia el bucle hasta las 6, máximo 10 experimentos", {"runs": 10, "hours": 7.5}),
        ("start the loop until I am back, for a few hours", {"unread": ("until i am back", "for a few hours")}),
        ("start the loop, 4 runs, max 80 GB", {"runs": 4, "unread": ("max 80 gb",)}),
        ("start the loop until the loss is below 0.9", {"unread": ("until the loss is below 0.9",)}),
        ("start the loop at 6pm", {"unread": ("at 6pm",)}),
        ("Run autonomously until I say stop.", {}),
        ("start the loop, up to $1,000", {"usd": 1000}),
        ("start the loop for 1h 30m", {"hours": 1.5}),
        ("start the loop for an hour and a half", {"hours": 1.5}),
        ("start the loop with 5 runs", {"runs": 5}),
        ("lance la boucle pour 10 essais", {"runs": 10}),
        ("inicia el bucle, máximo 10 corridas", {"runs": 10}),
        ("start the loop, do not spend over $4", {"usd": 4}),
        ("start the loop and stop after 5", {"runs": 5}),
        ("starte die Schleife und hör um 6 Uhr auf", {"hours": 7.5}),
        ("go autonomous and stop when it is 6am", {"hours": 7.5}),
        ("start the loop, stop when I say so", {}),
        ("start the loop for 20 runs of 5 minutes each", {"runs": 20, "unread": ("5 minutes each",)}),
        ("start the loop, 5 minutes per run, $20", {"usd": 20, "unread": ("5 minutes per run",)}),
        ("start the loop, budget $20. Stop after 5 runs.", {"runs": 5, "usd": 20}),
        ("limit each run to 5 minutes, and start the loop", {"unread": ("each run to 5 minutes",)}),
        ("start the loop, at most $20 per run", {"unread": ("at most $20 per run",)}),
        ("increase the width by 64 and start the loop", {"unread": ("by 64",)}),
        ("scale the rate by 0.75 and start the loop, end by 6am", {"hours": 7.5, "unread": ("by 0.75",)}),
        ("start the loop until 7:75, then until 25", {"unread": ("until 7:75", "until 25")}),
        ("start the loop before 9 and end it by 7 o'clock", {"hours": 8.5}),
        (
            "start the loop but stop if val_bpb gets below 0.9",
            {"unread": ("stop if val_bpb gets below 0.9",)},
        ),
    ],
)
def test_limits_are_read(prompt: str, named: dict[str, Any]):
    assert intent(prompt) == "on"
    assert read_limits(prompt, LATE) == NamedLimits(**named)


@settings(max_examples=200)
@given(
    st.one_of(
        st.text(max_size=200), st.lists(st.sampled_from(" ".join([*ON, *OFF]).split()), max_size=40).map(" ".join)
    )
)
def test_no_prompt_makes_it_fail(prompt: str):
    assert intent(prompt) in ("on", "off", "limit", "resume", None)
    read_limits(prompt, LATE)


LONG = [
    "stop the words and so on, how to " * 5000, "no " * 30000, "continue" + "!" * 50000 + "x", "'a " * 30000,
    "explain how it went," * 1500 + " and stop", "the loop stopped at step 3, loss 2.1\n" * 4000,
    "enough" + " " * 20000 + "x",
]  # fmt: skip


@pytest.mark.parametrize("prompt", LONG, ids=range(len(LONG)))
def test_pasted_logs_take_no_time(prompt: str):
    started = time.process_time()
    intent(prompt)
    read_limits(prompt, LATE)
    assert time.process_time() - started < 1.0
