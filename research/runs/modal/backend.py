"""Runs a command on a GPU at Modal as if it ran here: live output, the same kinds of ends, nothing left behind.

One launch, step by step on one event loop: pack the commit, hash the data, upload it, build the image, create a
sandbox, follow it to its end. This file holds the order of the steps and the table of ends.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from research.runs.modal.client import Caller, Cloud, CloudError, StoppedError
from research.runs.modal.sandbox import Launcher, Watch, Watched, no_gpu
from research.runs.modal.shipment import Manifest, Tree
from research.runs.modal.stream import ENV_SEALED, ENV_SEALED_HF, NO_SCORE, entrypoint, new_mark, score_of

ENDED_BY_LIMIT = (124, 137)  # what timeout(1) exits with when it ended the command politely, or by force
FORWARDED = (ENV_PROFILE, ENV_TIME_BUDGET)
"""Switches of prepare.py that reach the sandbox as they are set here."""


class ModalBackend(Backend):
    """The backend "modal".

    Args:
        env: The environment, by default this process's; an empty one is an empty one.
        limits: What to wait for, and how long.
    """

    name = "modal"

    def __init__(self, env: Mapping[str, str] | None = None, limits: settings.Limits = settings.LIMITS) -> None:
        self._env = os.environ if env is None else env
        self._limits = limits

    def check(self, launch: Launch) -> None:
        """Look, without the network, whether anything could be launched.

        Raises:
            ConfigurationError: no modal package, no token, no data, or a GPU, price or time limit that cannot be.
        """
        client.require_token()
        settings.usd_per_hour(settings.gpu_request(launch.gpu), self._env)
        longest_s = settings.MAX_SANDBOX_S - self._limits.sandbox_s(0.0)
        if not 0 < launch.timeout_s <= longest_s:
            raise ConfigurationError(
                f"A time limit of {launch.timeout_s / 60:g} minutes cannot be had at Modal.",
                f"Type --timeout with at most {longest_s // 60:g}.",
            )
        shipment.home_files(machine_home(self._env), self._env.get(ENV_PROFILE) or "official")

    def knows_price(self, gpu: str) -> bool:
        """Checks whether the table, or the user's environment, has a price for this GPU."""
        return settings.usd_per_hour(settings.gpu_request(gpu), self._env) is not None

    def plan(self, launch: Launch) -> tuple[str, ...]:
        """Tell what a checked launch would upload, create and cost at most, without asking the network."""
        with tempfile.TemporaryDirectory(prefix="autoresearch-modal-") as work:
            tree = shipment.pack(launch.root, launch.commit, Path(work))
        manifests = shipment.manifests(self._env)
        gpu, life_s = settings.gpu_request(launch.gpu), self._limits.sandbox_s(launch.timeout_s)
        sandbox, app = orphans.sandbox_name(launch.commit, launch.run, 1), settings.names_from(self._env).app
        most = settings.cost_usd(life_s, gpu, self._env)
        cost = "unknown: set " + settings.ENV_USD_PER_HOUR if most is None else f"{most:.2f} USD at most"
        return (
            f"ship     {tree.label}: {tree.files} files, {tree.total_bytes / 1e6:.1f} MB, to {settings.APP_DIR}",
            f"image    {tree.image_key}: Python {tree.python}, uv {settings.UV_VERSION}, {tree.packages}",
            *(
                f"data     {m.digest} in volume {m.volume}: {len(m.entries)} files, {m.total_bytes / 1e9:.2f} GB, "
                f"read-only at {m.mount}"
                for m in manifests
            ),
            f"sandbox  {sandbox} in app {app}: {gpu}, {settings.CPU_CORES:g} cores, {settings.MEMORY_MIB // 1024} GiB",
            f"limits   command {launch.timeout_s:g} s, sandbox {life_s} s",
            f"cost     {cost} (prices: {settings.price_source(self._env)})",
            f"command  {' '.join(launch.command)}",
        )

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        """Run the command in a sandbox to its end; see the protocol. Raises what emit raises, a broken pipe aside."""
        try:
            self.check(launch)
        except ConfigurationError as error:
            return CommandResult("configuration", error.exit_code, None, str(error))
        run = _Run(launch, self._env, Caller(stop, self._limits), emit, say)
        try:
            with tempfile.TemporaryDirectory(prefix="autoresearch-modal-") as work:
                return run.judge(run.make(Path(work)))
        except StoppedError as error:
            why = f"ended by {signal.Signals(error.signal).name} before the command began"
            return run.ended("interrupted", 128 + error.signal, why)
        except CloudError as error:
            return run.ended(error.kind, error.exit_code, str(error))
        except ResearchError as error:
            return run.ended("configuration", RUNNER_EXITS["configuration"], str(error))

    def reap(self, root: Path) -> list[str]:
        """End sandboxes whose launcher on this machine is gone; returns their names."""
        return orphans.reap(root, self._env)

    @staticmethod
    def examine(environment: Mapping[str, str]) -> Check:
        """Check whether there is a token, without reading it."""
        config = Path(environment.get("MODAL_CONFIG_PATH") or "~/.modal.toml").expanduser()
        if environment.get("MODAL_TOKEN_ID") and environment.get("MODAL_TOKEN_SECRET"):
            return Check("modal", True, "a token is in the environment")
        if config.is_file():
            return Check("modal", True, f"a token is in {config}")
        return Check("modal", True, "no token: only --backend modal needs one", "uv run modal setup")


@dataclass
class _Run:
    """The steps of one launch, and what they took."""

    launch: Launch
    env: Mapping[str, str]
    caller: Caller
    emit: Callable[[bytes], None]
    say: Callable[[str], None]
    device: str | None = None
    billed_s: float = 0.0
    phases_s: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    check_lists: tuple[str, str] = ("", "")  # hashes of what data and kernels must be in the sandbox

    def __post_init__(self) -> None:
        self.limits = self.caller.limits
        self.gpu = settings.gpu_request(self.launch.gpu)
        self.facts |= {"gpu_asked": self.gpu, "modal": str(importlib.import_module("modal").__version__)}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases_s[name] = self.phases_s.get(name, 0.0) + time.monotonic() - began

    def make(self, work: Path) -> Watched:
        """Make the run; what it needs of this machine is gathered before the network is asked anything.

        Raises:
            StoppedError, ResearchError: there was no sandbox to follow.
        """
        with self.phase("pack"):
            tree = shipment.pack(self.launch.root, self.launch.commit, work)
            manifests = shipment.manifests(self.env)
        self.facts |= {"shipped": tree.label, "data": manifests[0].digest, "image_key": tree.image_key}
        self.check_lists = (manifests[0].check_sha256, manifests[1].check_sha256 if manifests[1:] else "")
        self.say(f"shipping {tree.label}, {tree.files} files")
        return asyncio.run(self._make(tree, manifests))

    async def _make(self, tree: Tree, manifests: tuple[Manifest, ...]) -> Watched:
        cloud = Cloud(settings.names_from(self.env).app)
        with self.phase("connect"):
            await self.caller.finish(cloud.app(), self.limits.call_s, "looking up the app")
            await self._end_orphans(cloud)
        with self.phase("upload"):
            volumes = await self._upload(cloud, manifests)
        with self.phase("build"):
            image = await self._build(cloud, tree)
        for attempt in range(1, self.limits.attempts + 1):
            watched = await self._attempt(cloud, attempt, image, volumes)
            if watched.kind != "lost" or not watched.idle or attempt == self.limits.attempts:
                break
            self.say(f"{watched.why}; trying a new sandbox")
            if watched.seen.fault:
                with self.phase("upload"):
                    volumes = await self._upload(cloud, manifests, afresh=True)
        return watched

    async def _end_orphans(self, cloud: Cloud) -> None:
        try:
            ended = await self.caller.finish(orphans.end_orphans(cloud), self.limits.call_s, "reaping")
        except CloudError as error:
            self.say(f"orphans were not looked for: {error.what}")  # the run does not depend on it
            return
        if ended:
            self.say(f"ended {len(ended)} orphaned sandbox(es) of dead launchers: {', '.join(ended)}")

    async def _upload(self, cloud: Cloud, manifests: tuple[Manifest, ...], afresh: bool = False) -> dict[str, Any]:
        """Put into the volumes what is not there yet, or, afresh, whatever is there; return mount path to volume."""

        async def work() -> dict[str, Any]:
            volumes = {}
            for manifest in manifests:
                volume = await cloud.volume(manifest.volume)
                await shipment.seal(volume, manifest, self.limits, self.say, afresh)
                volumes[manifest.mount] = volume.with_mount_options(read_only=True, sub_path=f"/{manifest.digest}")
            return volumes

        return await self.caller.finish(work(), self.limits.upload_s, "uploading the data", settings.UPLOAD_ADVICE)

    async def _build(self, cloud: Cloud, tree: Tree) -> Any:
        how = f"Python {tree.python}, {tree.packages} (minutes the first time, seconds after)"
        self.say(f"image {tree.image_key}: {how}")
        image = (
            cloud.modal.Image.debian_slim(python_version=tree.python)
            .uv_sync(
                str(tree.image_folder),
                extras=list(tree.extras),
                frozen=tree.locked,
                extra_options="--no-default-groups",
                uv_version=settings.UV_VERSION,
            )
            # uv_sync puts only the environment's programs on the path, and the command begins with uv.
            .dockerfile_commands("ENV PATH=/.uv:$PATH")
            .add_local_dir(str(tree.folder), settings.APP_DIR, copy=False)
        )
        advice = settings.LOCK_ADVICE if tree.locked else ""
        build = image.build.aio(await cloud.app())
        return await self.caller.finish(build, self.limits.build_s, "building the image", advice)

    async def _attempt(self, cloud: Cloud, number: int, image: Any, volumes: Mapping[str, Any]) -> Watched:
        """Create one sandbox and follow it to its end."""
        launch, limits, mark = self.launch, self.limits, new_mark()
        name = orphans.sandbox_name(launch.commit, launch.run, number)
        options = {
            "name": name,
            "tags": orphans.tags_for(launch.run, launch.commit, orphans.launcher_tags()),
            "env": self._sandbox_env(volumes),
            "gpu": self.gpu,
            "cpu": settings.CPU_CORES,
            "memory": settings.MEMORY_MIB,
            "timeout": limits.sandbox_s(launch.timeout_s),
            "workdir": settings.APP_DIR,
            "image": image,
            "volumes": volumes,
        }
        words = entrypoint(mark, launch.command, launch.timeout_s, limits.kill_after_s, *self.check_lists)
        self.facts |= {"attempts": str(number), "sandbox_name": name}
        launcher = Launcher(cloud, self.caller, self.say)
        self.say(f"asking for {self.gpu}, sandbox {name}")
        with self.phase("queue"):
            created = await launcher.create(words, options, launch.queue_timeout_s)
        self.facts["sandbox_id"] = created.sandbox.object_id
        if not created.queue_s:
            self.say(f"sandbox {created.sandbox.object_id} has its GPU after {self.phases_s['queue']:.1f} s")
        began = time.monotonic()
        try:
            watched = await Watch(launcher, created, mark, self.emit, launch.timeout_s).follow()
        finally:
            lived_s = time.monotonic() - began
            self.billed_s += lived_s
        if watched.kind == "capacity":
            self.billed_s -= lived_s  # what never had its GPU costs nothing
            raise no_gpu(self.gpu, launch.queue_timeout_s)
        self.phases_s["start"] = self.phases_s.get("start", 0.0) + watched.start_s
        self.phases_s["run"] = watched.seen.end.took_s if watched.seen.end else watched.run_s
        return watched

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

    def judge(self, watched: Watched) -> CommandResult:
        """Say what the end of a sandbox means."""
        seen = watched.seen
        self.device = seen.device
        if seen.device:
            self.facts["gpu_seen"] = seen.device
            if not device_matches(self.gpu, seen.device):
                self.facts["gpu_differs"] = "yes"
                self.say(f"asked for {self.gpu}, got {seen.device}")
        if seen.driver:
            self.facts["driver"] = seen.driver
        if watched.kind == "end":
            return self._judge_end(watched)
        if watched.kind == "interrupted":
            return self.ended("interrupted", 128 + (watched.signal or signal.SIGTERM), watched.why)
        if watched.kind == "timeout":
            return self.ended("timeout", RUNNER_EXITS["timeout"], watched.why)
        why = watched.why
        if seen.started:
            self.facts["suspect"] = "memory"
            why += f"; if the same commit does it again, it may need more than {settings.MEMORY_MIB // 1024} GiB"
        return self.ended("infrastructure", RUNNER_EXITS["infrastructure"], why)

    def _judge_end(self, watched: Watched) -> CommandResult:
        launch, end = self.launch, watched.seen.end
        assert end is not None
        score = score_of(watched.seen) if end.score_sha256 != NO_SCORE else None
        if score is not None:
            write_whole(launch.run_dir / SCORE_FILE, score)
        if end.code in ENDED_BY_LIMIT and end.took_s >= launch.timeout_s:
            why = f"the time limit of {launch.timeout_s / 60:g} minutes ended it"
            return self.ended("timeout", RUNNER_EXITS["timeout"], why)
        if score is None and end.score_sha256 != NO_SCORE:
            self.facts["score"] = "damaged"
            if end.code == 0:
                why = "score.json did not come back whole"
                return self.ended("infrastructure", RUNNER_EXITS["infrastructure"], why, 0)
        # An end mark that names no score was written after looking for one: nothing was lost, the command left none.
        return self.ended("finished", end.code, "", end.code)

    def ended(self, kind: EndKind, exit_code: int, why: str, child_exit: int | None = None) -> CommandResult:
        """Put an end together with the phases, the cost and the facts."""
        cost = settings.cost_usd(self.billed_s, self.gpu, self.env)
        self.facts |= {"billed_s": f"{self.billed_s:.1f}", "prices": settings.price_source(self.env)}
        phases = {name: round(seconds, 3) for name, seconds in self.phases_s.items()}
        return CommandResult(kind, exit_code, child_exit, why, phases, self.device, cost, dict(self.facts))


def device_matches(asked: str, seen: str) -> bool:
    """Say whether a device's name is that of the GPU that was asked for, as far as names can tell."""
    family = asked.partition(":")[0].rstrip("!+").upper().removesuffix("-40GB").removesuffix("-80GB")
    return family in seen.upper().replace(" ", "-")
