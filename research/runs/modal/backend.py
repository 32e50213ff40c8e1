"""Runs a command on a GPU at Modal as if it ran here: live output, the same kinds of ends, nothing left behind.

One launch, step by step on one event loop: pack the commit, hash the data, upload it, build the image, create a
sandbox, follow it to its end. This file holds the order of the steps and the table of ends.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.core.check import Check
from research.core.contract import ENV_PROFILE, ENV_SEED, ENV_TIME_BUDGET, RUNNER_EXITS, SCORE_FILE
from research.core.errors import ConfigurationError, ResearchError
from research.core.files import write_whole
from research.core.paths import machine_home
from research.runs.backend import Backend, CommandResult, EndKind, Launch, StopRequest
from research.runs.modal import client, settings, shipment
from research.runs.modal import reap as orphans
from research.runs.modal.client import NEXT_STEPS, Cloud, CloudError, LateError, StoppedError
from research.runs.modal.sandbox import Ending, SandboxWatch, create
from research.runs.modal.shipment import Manifest, Tree
from research.runs.modal.stream import ENV_SEALED, ENV_SEALED_HF, NO_SCORE, Parser, entrypoint, new_mark

ENDED_BY_LIMIT = (124, 137)  # exit codes of timeout(1) when it ended the command politely, or by force
FORWARDED = (ENV_PROFILE, ENV_TIME_BUDGET)
"""Environment variables that the sandbox gets with the values that they have here."""


class ModalBackend(Backend):
    """The backend "modal": a GPU in a sandbox at Modal."""

    name = "modal"

    def __init__(self, env: Mapping[str, str], limits: settings.Limits = settings.LIMITS) -> None:
        self._env, self._limits = env, limits

    def check(self, launch: Launch) -> None:
        """Check package, token, data, GPU, price and time limit; raise ConfigurationError if one won't do."""
        client.require_token()
        self.knows_price(launch.gpu)  # raises for a GPU or a price that is invalid
        longest_s = settings.MAX_SANDBOX_S - self._limits.sandbox_s(0.0)
        if not 0 < launch.timeout_s <= longest_s:
            raise ConfigurationError(
                f"A time limit of {launch.timeout_s / 60:g} minutes cannot be had at Modal.",
                f"Type --timeout with at most {longest_s // 60:g}.",
            )
        shipment.home_files(machine_home(self._env), self._env.get(ENV_PROFILE) or "official")

    def knows_price(self, gpu: str) -> bool:
        """Check whether the table, or the user's environment, has a price for this GPU."""
        return settings.usd_per_hour(settings.gpu_request(gpu), self._env) is not None

    def plan(self, launch: Launch) -> tuple[str, ...]:
        """Describe what a checked launch would upload, create and cost at most, without asking the network."""
        with tempfile.TemporaryDirectory(prefix="autoresearch-modal-") as work:
            tree = shipment.pack(launch.root, launch.commit, Path(work))
        gpu, life_s = settings.gpu_request(launch.gpu), self._limits.sandbox_s(launch.timeout_s)
        sandbox, app = orphans.sandbox_name(launch.commit, launch.run, 1), settings.names_from(self._env).app
        most = settings.cost_usd(life_s, gpu, self._env)
        cost = f"unknown: set {settings.ENV_USD_PER_HOUR}" if most is None else f"about {most:.2f} USD at most"
        data = [
            f"data     {one.digest} in volume {one.volume}: {one.size}, read-only at {one.mount}"
            for one in shipment.manifests(self._env)
        ]
        return (
            f"ship     {tree.label}: {tree.size}, to {settings.APP_DIR}",
            f"image    {tree.image_key}: Python {tree.python}, uv {settings.UV_VERSION}, {tree.packages}",
            *data,
            f"sandbox  {sandbox} in app {app}: {gpu}, {settings.CPU_CORES} cores, {settings.MEMORY_GIB} GiB",
            f"limits   command {launch.timeout_s:g} s, sandbox {life_s} s",
            f"cost     {cost}",
            f"command  {' '.join(launch.command)}",
        )

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        """Run the command in a sandbox to its end, as Backend says. Raises what emit raises, except a broken pipe."""
        run = _Run(launch, self._env, Cloud(settings.names_from(self._env).app, self._limits, stop, say), emit)
        try:
            with tempfile.TemporaryDirectory(prefix="autoresearch-modal-") as work:
                return run.play(Path(work))
        except StoppedError as error:
            (number,) = error.args
            why = f"ended by {signal.Signals(number).name} before the command began"
            return run.ended("interrupted", why, 128 + number)
        except ResearchError as error:
            return run.ended(error.kind if isinstance(error, CloudError) else "configuration", str(error))

    def reap(self) -> list[str]:
        """End sandboxes whose launcher on this machine is gone; return the names of their runs."""
        return orphans.reap(self._env)

    @staticmethod
    def examine(environment: Mapping[str, str]) -> Check:
        """Check whether there is a token, without reading it."""
        config = Path(environment.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
        if environment.get("MODAL_TOKEN_ID") and environment.get("MODAL_TOKEN_SECRET"):
            return Check("modal", True, "a token is in the environment")
        if config.is_file():
            return Check("modal", True, f"a token is in {config}")
        return Check("modal", True, "no token: only --backend modal needs one", "uv run modal setup")


class _Run:
    """The steps of one launch, with the seconds and dollars that they took."""

    def __init__(self, launch: Launch, env: Mapping[str, str], cloud: Cloud, emit: Callable[[bytes], None]) -> None:
        self.launch, self.env, self.cloud, self.emit = launch, env, cloud, emit
        self.limits, self.say = cloud.limits, cloud.say
        self.gpu = settings.gpu_request(launch.gpu)
        self.queue_s = settings.CLIENT_QUEUE_S if launch.queue_timeout_s is None else launch.queue_timeout_s
        self.seen = Parser("")  # the parser of the last sandbox's output
        self.billed_s = 0.0
        self.phases_s: dict[str, float] = {}
        self.facts = {"gpu_asked": self.gpu, "modal": str(cloud.modal.__version__)}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases_s[name] = self.phases_s.get(name, 0.0) + time.monotonic() - began

    def play(self, work: Path) -> CommandResult:
        """Make the run; everything that it needs of this machine is gathered before the network is asked anything."""
        with self.phase("pack"):
            tree = shipment.pack(self.launch.root, self.launch.commit, work)
            manifests = shipment.manifests(self.env)
        self.facts |= {"shipped": tree.label, "data": manifests[0].digest, "image_key": tree.image_key}
        self.say(f"shipping {tree.label}, {tree.size}")
        return self.judge(asyncio.run(self._play(tree, manifests)))

    async def _play(self, tree: Tree, manifests: list[Manifest]) -> Ending:
        with self.phase("connect"):
            await self.cloud.connect()
            await self._end_orphans()
        with self.phase("upload"):
            volumes = await self._upload(manifests)
        with self.phase("build"):
            image = await self._build(tree)
        check_lists = (manifests[0].check_sha256, manifests[1].check_sha256 if manifests[1:] else "")
        for attempt in range(1, self.limits.attempts + 1):
            ending = await self._attempt(attempt, image, volumes, check_lists)
            if not ending.never_began or attempt == self.limits.attempts:
                break
            self.say(f"{ending.why}; trying a new sandbox")
            if self.seen.fault:
                with self.phase("upload"):
                    volumes = await self._upload(manifests, afresh=True)
        return ending

    async def _end_orphans(self) -> None:
        """End the sandboxes of dead launchers; where Modal can't list them, the run goes on all the same."""
        work = orphans.end_orphans(self.cloud, self.env)
        try:
            ended = await self.cloud.finish(work, self.limits.call_s, "looking for orphans")
        except CloudError as error:
            self.say(f"sandboxes of dead launchers may live on: {error.what}")
            self.say("to end them, type: uv run scripts/run_experiment.py --reap")
            return
        if ended:
            self.say(f"ended {len(ended)} orphaned sandbox(es) of dead launchers: {', '.join(ended)}")

    async def _upload(self, manifests: list[Manifest], afresh: bool = False) -> dict[str, Any]:
        """Upload to the volumes what is not there yet, or, afresh, everything; return the volumes by mount path."""
        volumes = {}
        for manifest in manifests:
            opening = self.cloud.modal.Volume.from_name(manifest.volume, create_if_missing=True, version=2).hydrate
            volume = await self.cloud.finish(opening.aio(), self.limits.call_s, "opening the volume")
            await shipment.seal(self.cloud, volume, manifest, afresh)
            volumes[manifest.mount] = volume.with_mount_options(read_only=True, sub_path=f"/{manifest.digest}")
        return volumes

    async def _build(self, tree: Tree) -> Any:
        how = f"Python {tree.python}, {tree.packages} (minutes the first time, seconds after)"
        self.say(f"image {tree.image_key}: {how}")
        image = (
            self.cloud.modal.Image.debian_slim(python_version=tree.python)
            .uv_sync(
                str(tree.folder),
                frozen=tree.is_locked,
                extra_options="--no-default-groups --all-extras",  # such as fast attention for GPUs from the H100 on
                uv_version=settings.UV_VERSION,
            )
            # uv_sync puts only the environment's programs on the path, and the command begins with uv.
            .dockerfile_commands("ENV PATH=/.uv:$PATH")
            .add_local_dir(str(tree.folder), settings.APP_DIR, copy=False)
        )
        advice = settings.LOCK_ADVICE if tree.is_locked else ""
        build = image.build.aio(self.cloud.app)
        return await self.cloud.finish(build, self.limits.build_s, "building the image", advice)

    async def _attempt(
        self, number: int, image: Any, volumes: Mapping[str, Any], check_lists: tuple[str, str]
    ) -> Ending:
        """Create one sandbox and follow it to its end."""
        launch, limits, mark = self.launch, self.limits, new_mark()
        name = orphans.sandbox_name(launch.commit, launch.run, number)
        options = {
            "name": name,
            "tags": orphans.tags_for(name, launch.run, launch.commit),
            "env": self._sandbox_env(volumes),
            "gpu": self.gpu,
            "cpu": settings.CPU_CORES,
            "memory": settings.MEMORY_GIB * 1024,
            "timeout": limits.sandbox_s(launch.timeout_s),
            "workdir": settings.APP_DIR,
            "image": image,
            "volumes": volumes,
        }
        words = entrypoint(mark, launch.command, launch.timeout_s, limits.kill_after_s, *check_lists)
        self.facts |= {"attempts": str(number), "sandbox_name": name}
        self.say(f"asking for {self.gpu}, sandbox {name}")
        with orphans.launcher_lock(self.cloud, name, self.env):
            try:
                with self.phase("queue"):
                    sandbox, queue_s = await create(self.cloud, words, options, self.queue_s)
            except LateError:
                return Ending("capacity")
            except CloudError as error:
                if error.kind != "infrastructure":
                    raise
                return Ending("infrastructure", error.what, never_began=True)
            self.facts["sandbox_id"] = sandbox.object_id
            if not queue_s:
                self.say(f"sandbox {sandbox.object_id} has its GPU after {self.phases_s['queue']:.1f} s")
            watch = SandboxWatch(self.cloud, sandbox, queue_s, mark, self.emit, launch.timeout_s)
            try:
                ending = await watch.follow()
            finally:
                now, self.seen = time.monotonic(), watch.parser
                self.billed_s += now - (watch.container_began or now)
        started = watch.command_began or now
        self.phases_s["start"] = self.phases_s.get("start", 0.0) + started - watch.began
        self.phases_s["run"] = self.seen.took_s if self.seen.code is not None else now - started
        return ending

    def _sandbox_env(self, volumes: Mapping[str, Any]) -> dict[str, str]:
        env = {
            ENV_SEED: str(self.launch.seed),
            ENV_SEALED: settings.HOME_MOUNT,
            ENV_SEALED_HF: settings.HF_MOUNT if settings.HF_MOUNT in volumes else "",
            "UV_NO_SYNC": "1",
            "UV_FROZEN": "1",
            "UV_PROJECT_ENVIRONMENT": settings.VENV_DIR,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return env | {name: self.env[name] for name in FORWARDED if self.env.get(name)}

    def judge(self, ending: Ending) -> CommandResult:
        """Return the end of the run by the end of its sandbox."""
        seen, why = self.seen, ending.why
        self.facts |= {name: said for name, said in (("gpu_seen", seen.device), ("driver", seen.driver)) if said}
        if ending.kind == "finished":
            return self._judge_finished()
        if ending.kind == "interrupted":
            return self.ended("interrupted", why, 128 + ending.signal)
        if ending.kind == "capacity":
            why = f"No {self.gpu} within {self.queue_s / 60:g} minutes. {NEXT_STEPS['capacity']}"
        elif ending.kind == "infrastructure" and seen.started:
            self.facts["suspect"] = "memory"
            why += f"; if the same commit does it again, it may need more than {settings.MEMORY_GIB} GiB"
        elif ending.kind == "infrastructure":
            why = f"{why.rstrip('.')}. {NEXT_STEPS['infrastructure']}"
        return self.ended(ending.kind, why)

    def _judge_finished(self) -> CommandResult:
        seen, limit_s = self.seen, self.launch.timeout_s
        assert seen.code is not None
        score = seen.score()
        if score is not None:
            write_whole(self.launch.run_dir / SCORE_FILE, score)
        if seen.code in ENDED_BY_LIMIT and seen.took_s >= limit_s:
            return self.ended("timeout", f"the time limit of {limit_s / 60:g} minutes ended it")
        # An end line without a score was written after looking for one: nothing was lost, the command left none.
        if score is None and seen.score_sha256 != NO_SCORE:
            self.facts["score"] = "damaged"
            if seen.code == 0:
                return self.ended("infrastructure", "score.json did not come back whole", child_exit=0)
        return self.ended("finished", "", seen.code, seen.code)

    def ended(
        self, kind: EndKind, why: str, exit_code: int | None = None, child_exit: int | None = None
    ) -> CommandResult:
        """Return an end of the run with its phases, cost and facts; the exit code is by default the kind's."""
        code = RUNNER_EXITS[kind] if exit_code is None else exit_code
        cost = settings.cost_usd(self.billed_s, self.gpu, self.env)
        self.facts["billed_s"] = f"{self.billed_s:.1f}"
        phases = {name: round(seconds, 3) for name, seconds in self.phases_s.items()}
        return CommandResult(kind, code, child_exit, why, phases, self.seen.device, cost, self.facts)
