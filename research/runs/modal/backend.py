"""Runs a command on a GPU at Modal as if it ran here: live output, honest ends, nothing left behind.

The parts: modal_tree ships the commit, modal_data seals the data, modal_wrapper runs inside the sandbox, modal_launch
and modal_watch get and follow it, modal_reap finds what others left. This file holds the table of ends.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from research.core.check import Check
from research.core.errors import ConfigurationError, ResearchError
from research.runs.backend import Backend, CommandResult, EndKind, Launch, StopRequest
from research.runs.modal import client, data, settings
from research.runs.modal import reap as modal_reap
from research.runs.modal import tree as modal_tree
from research.runs.modal.client import CloudError, StoppedError
from research.runs.modal.session import Session, client_version, this_environment
from research.runs.modal.stream import EndMark, save_score, score_of
from research.runs.modal.watch import Watched
from research.runs.modal.wrapper import NO_SCORE

EXIT_TIMEOUT = 124
EXIT_INFRASTRUCTURE = 75
EXIT_CAPACITY = 69
EXIT_CONFIGURATION = 78
ENDED_BY_LIMIT = (124, 137)  # what timeout(1) exits with when it ended the command politely, or by force


class ModalBackend(Backend):
    """The backend "modal".

    Args:
        env: The environment, by default this process's; an empty one is an empty one.
        limits: What to wait for, and how long.
    """

    name = "modal"

    def __init__(self, env: Mapping[str, str] | None = None, limits: settings.Limits = settings.LIMITS) -> None:
        self._env = this_environment() if env is None else env
        self._limits = limits

    def check(self, launch: Launch) -> None:
        """Looks, without the network, whether anything could be launched.

        Raises:
            ConfigurationError: no modal package, no token, no data, or a GPU, price or time limit that cannot be.
        """
        client.require_token()
        self._check_offline(launch)

    def _check_offline(self, launch: Launch) -> None:
        settings.usd_per_hour(settings.gpu_request(launch.gpu), self._env)
        most = settings.MAX_SANDBOX_S - (self._limits.sandbox_s(0.0))
        if not 0 < launch.timeout_s <= most:
            raise ConfigurationError(
                f"A time limit of {launch.timeout_s / 60:g} minutes cannot be had at Modal.",
                f"Type --timeout with at most {most // 60:g}.",
            )
        data.home_files(data.home_from(self._env), self._env.get("AUTORESEARCH_PROFILE") or "official")

    def plan(self, launch: Launch) -> tuple[str, ...]:
        """What a launch would upload, create and cost at most, line by line; asks nothing of the network.

        Raises:
            ResearchError: it could not be launched.
        """
        self._check_offline(launch)
        session = Session(launch, self._env, self._limits, _Never(), lambda line: None)
        sealed = session.seal_list()
        with tempfile.TemporaryDirectory(prefix="autoresearch-modal-") as work:
            tree, spec = self._pack(launch, Path(work))
        life_s = self._limits.sandbox_s(launch.timeout_s)
        cap = settings.cost_usd(life_s, session.gpu, self._env)
        lock = "uv.lock" if tree.locked else "no uv.lock: the pins of pyproject.toml, resolved in the image"
        cost = "unknown: set " + settings.ENV_USD_PER_HOUR if cap is None else f"{cap:.2f} USD at most"
        names = session.names
        return (
            f"ship     {tree.label}: {tree.files} files, {tree.total_bytes / 1e6:.1f} MB, to {settings.APP_DIR}",
            f"image    {spec.key}: Python {spec.python}, uv {settings.UV_VERSION}, {lock}",
            *(
                f"data     {s.manifest.digest} in volume {s.volume}: {len(s.manifest.entries)} files, "
                f"{s.manifest.total_bytes / 1e9:.2f} GB, read-only at {s.mount}"
                for s in sealed
            ),
            f"sandbox  {modal_reap.sandbox_name(launch.commit, launch.run, 1)} in app {names.app}: {session.gpu}, "
            f"{settings.CPU_CORES:g} cores, {settings.MEMORY_MIB // 1024} GiB",
            f"limits   command {launch.timeout_s:g} s, sandbox {life_s} s",
            f"cost     {cost} (prices: {self._price_source()})",
            f"command  {' '.join(launch.command)}",
        )

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        """Runs the command in a sandbox to its end; see the protocol. Raises what emit raises, a broken pipe aside."""
        try:
            self.check(launch)
            session = Session(launch, self._env, self._limits, stop, say)
        except ConfigurationError as error:
            return CommandResult("configuration", EXIT_CONFIGURATION, None, str(error))
        try:
            watched = self._run(session, emit)
        except StoppedError as error:
            why = f"ended by {signal.Signals(error.signal).name} before the command began"
            return self._ended(session, "interrupted", 128 + error.signal, None, why)
        except CloudError as error:
            return self._ended(session, error.kind, error.exit_code, None, str(error))
        except ResearchError as error:
            return self._ended(session, "configuration", EXIT_CONFIGURATION, None, str(error))
        return self._judge_end(session, watched)

    def reap(self, root: Path) -> list[str]:
        """Ends sandboxes whose launcher on this machine is gone; see modal_reap.reap."""
        return modal_reap.reap(root, self._env)

    @staticmethod
    def examine(environment: Mapping[str, str]) -> Check:
        """Checks whether there is a token, without reading it."""
        config = Path(environment.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
        if environment.get("MODAL_TOKEN_ID") and environment.get("MODAL_TOKEN_SECRET"):
            return Check("modal", True, "a token is in the environment")
        if config.is_file():
            return Check("modal", True, f"a token is in {config}")
        return Check("modal", True, "no token: only --backend modal needs one", "uv run modal setup")

    def _pack(self, launch: Launch, work: Path) -> tuple[modal_tree.Tree, modal_tree.ImageSpec]:
        for name in ("tree", "image"):
            (work / name).mkdir()
        tree = modal_tree.export(launch.root, launch.commit, work / "tree")
        return tree, modal_tree.image_spec(tree, work / "image")

    def _run(self, session: Session, emit: Callable[[bytes], None]) -> Watched:
        session.facts["modal"] = client_version()
        with tempfile.TemporaryDirectory(prefix="autoresearch-modal-") as work:
            with session.phase("pack"):
                tree, spec = self._pack(session.launch, Path(work))
                sealed = session.seal_list()
            session.facts |= {"shipped": tree.label, "data": sealed[0].manifest.digest}
            session.say(f"shipping {tree.label}, {tree.files} files")
            cloud = client.Cloud(session.names.app)
            with session.phase("connect"):
                session.find_app(cloud)
            with session.phase("upload"):
                volumes = session.upload(cloud, sealed)
            with session.phase("build"):
                image = session.build(cloud, tree, spec)
            for number in range(1, self._limits.attempts + 1):
                last = number == self._limits.attempts
                watched = session.attempt(cloud, number, image, volumes, sealed, emit)
                if watched.kind != "lost" or not watched.idle or last:
                    break
                session.say(f"{watched.why}; trying a new sandbox")
                if watched.seen.fault:
                    with session.phase("upload"):
                        volumes = session.upload(cloud, sealed, afresh=True)
        return watched

    def _judge_end(self, session: Session, watched: Watched) -> CommandResult:
        seen = watched.seen
        if seen.device:
            session.facts["gpu_seen"] = seen.device
            if not device_matches(session.gpu, seen.device):
                session.facts["gpu_differs"] = "yes"
                session.say(f"asked for {session.gpu}, got {seen.device}")
        if seen.driver:
            session.facts["driver"] = seen.driver
        if watched.kind == "end" and seen.end is not None:
            return self._finished(session, watched, seen.end)
        if watched.kind == "interrupted":
            number = watched.signal or signal.SIGTERM
            return self._ended(session, "interrupted", 128 + number, None, watched.why, seen.device)
        if watched.kind == "timeout":
            return self._ended(session, "timeout", EXIT_TIMEOUT, None, watched.why, seen.device)
        if watched.kind == "capacity":
            return self._ended(session, "capacity", EXIT_CAPACITY, None, watched.why)
        why = watched.why
        if seen.started:
            session.facts["suspect"] = "memory"
            why += f"; if the same commit does it again, it may need more than {settings.MEMORY_MIB // 1024} GiB"
        return self._ended(session, "infrastructure", EXIT_INFRASTRUCTURE, None, why, seen.device)

    def _finished(self, session: Session, watched: Watched, end: EndMark) -> CommandResult:
        launch, seen = session.launch, watched.seen
        score = score_of(seen) if end.score_sha256 != NO_SCORE else None
        if score is not None:
            save_score(score, launch.run_dir)
        if end.code in ENDED_BY_LIMIT and end.took_s >= launch.timeout_s:
            why = f"the time limit of {launch.timeout_s / 60:g} minutes ended it"
            return self._ended(session, "timeout", EXIT_TIMEOUT, None, why, seen.device)
        if score is None and end.score_sha256 != NO_SCORE:
            session.facts["score"] = "damaged"
            if end.code == 0:
                why = "score.json did not come back whole"
                return self._ended(session, "infrastructure", EXIT_INFRASTRUCTURE, 0, why, seen.device)
        # An end mark that names no score was written after looking for one: nothing was lost, the command left none.
        return self._ended(session, "finished", end.code, end.code, "", seen.device)

    def _ended(
        self,
        session: Session,
        kind: EndKind,
        exit_code: int,
        child_exit: int | None,
        why: str,
        device: str | None = None,
    ) -> CommandResult:
        cost = settings.cost_usd(session.billed_s, session.gpu, self._env)
        session.facts |= {"billed_s": f"{session.billed_s:.1f}", "prices": self._price_source()}
        phases = {name: round(seconds, 3) for name, seconds in session.phases_s.items()}
        return CommandResult(kind, exit_code, child_exit, why, phases, device, cost, dict(session.facts))

    def _price_source(self) -> str:
        return settings.ENV_USD_PER_HOUR if self._env.get(settings.ENV_USD_PER_HOUR) else settings.PRICES_FROM


class _Never:
    """A stop request that nobody makes."""

    def requested(self) -> int | None:
        return None

    def wait(self, seconds: float) -> int | None:
        return None


def device_matches(asked: str, seen: str) -> bool:
    """Whether a device's name is that of the GPU that was asked for, as far as names can tell."""
    family = asked.partition(":")[0].rstrip("!+").upper().removesuffix("-40GB").removesuffix("-80GB")
    return family in seen.upper().replace(" ", "-")
