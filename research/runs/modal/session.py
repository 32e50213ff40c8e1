"""One launch on Modal, step by step: the commit packed, the data sealed, the image built, sandboxes made and watched.

It decides nothing about what an end means: that is the backend's table.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from research.core.contract import ENV_PROFILE, ENV_SEED, ENV_TIME_BUDGET
from research.runs.backend import Launch, StopRequest
from research.runs.modal import data, reap, settings, wrapper
from research.runs.modal import tree as modal_tree
from research.runs.modal.client import (
    NEXT_STEPS,
    Call,
    Cloud,
    CloudError,
    LateError,
    SandboxOrder,
    StoppedError,
    describe,
    failure_kind,
)
from research.runs.modal.sandbox import Launcher
from research.runs.modal.watch import Watch, Watched

T = TypeVar("T")

FORWARDED = (ENV_PROFILE, ENV_TIME_BUDGET)
"""Switches of prepare.py that reach the sandbox as they are set here."""


@dataclass(frozen=True)
class Sealed:
    """A manifest and where its folder is mounted, read-only."""

    manifest: data.Manifest
    volume: str
    mount: str


class Session:
    """The steps of one launch, and what they took.

    Args:
        launch: What to run.
        env: The environment of the launcher.
        limits: What to wait for, and how long.
        stop: Asks for the end.
        say: Takes one line for people.
    """

    def __init__(
        self,
        launch: Launch,
        env: Mapping[str, str],
        limits: settings.Limits,
        stop: StopRequest,
        say: Callable[[str], None],
    ) -> None:
        self.launch = launch
        self.env = env
        self.limits = limits
        self.stop = stop
        self.say = say
        self.names = settings.names_from(env)
        self.gpu = settings.gpu_request(launch.gpu)
        self.phases_s: dict[str, float] = {}
        self.facts: dict[str, str] = {"gpu_asked": self.gpu}
        self.billed_s = 0.0
        """Seconds that sandboxes of this launch lived."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases_s[name] = self.phases_s.get(name, 0.0) + time.monotonic() - began

    def seal_list(self) -> tuple[Sealed, ...]:
        """Hashes what the sandbox needs of this machine: the data, and the kernels if they are here.

        Raises:
            ConfigurationError: there is no data.
        """
        home = data.home_from(self.env)
        cache = data.HashCache(home / data.HASHES_FILE)
        files = data.home_files(home, self.env.get(ENV_PROFILE) or "official")
        sealed = [Sealed(data.manifest_of(files, cache), self.names.data_volume, settings.HOME_MOUNT)]
        kernels = data.hf_files(data.hf_hub_from(self.env))
        if kernels:
            sealed.append(Sealed(data.manifest_of(kernels, cache), self.names.hf_volume, settings.HF_MOUNT))
        return tuple(sealed)

    def upload(self, cloud: Cloud, sealed: tuple[Sealed, ...], afresh: bool = False) -> dict[str, Any]:
        """Seals in the volumes what is not there yet, or, afresh, whatever is there.

        Returns:
            Mount path to volume, read-only and at the digest's folder.

        Raises:
            StoppedError, CloudError
        """

        async def work() -> dict[str, Any]:
            volumes = {}
            for item in sealed:
                volume = await cloud.volume(item.volume)
                await data.seal(volume, item.manifest, self.say, afresh)
                volumes[item.mount] = volume.with_mount_options(read_only=True, sub_path=f"/{item.manifest.digest}")
            return volumes

        try:
            return self._call(work, self.limits.upload_s, "uploading the data")
        except data.DataChangedError:
            raise CloudError(
                "configuration", "The data changed while it was uploaded.", "Let prepare.py finish, then try again."
            ) from None

    def find_app(self, cloud: Cloud) -> None:
        """Looks the app up, and ends orphans of this machine.

        Raises:
            StoppedError, CloudError
        """
        self._call(cloud.app, self.limits.call_s, "looking up the app")
        try:
            reaped = self._call(lambda: reap.reap_with(cloud, reap.this_process()), self.limits.call_s, "reaping")
        except CloudError as error:
            self.say(f"orphans were not looked for: {error.what}")  # the run does not depend on it
            return
        if reaped:
            self.say(f"ended {len(reaped)} orphaned sandbox(es) of dead launchers: {', '.join(reaped)}")

    def build(self, cloud: Cloud, tree: modal_tree.Tree, spec: modal_tree.ImageSpec) -> Any:
        """Builds the image, or finds it built.

        Raises:
            StoppedError, CloudError
        """
        self.facts["image_key"] = spec.key
        how = "uv.lock" if spec.locked else "the pins of pyproject.toml, resolved in the image"
        self.say(f"image {spec.key}: Python {spec.python}, {how} (minutes the first time, seconds after)")

        async def work() -> Any:
            image = (
                cloud.modal.Image.debian_slim(python_version=spec.python)
                .uv_sync(
                    str(spec.folder),
                    extras=list(spec.extras),
                    frozen=spec.locked,
                    extra_options="--no-default-groups",
                    uv_version=settings.UV_VERSION,
                )
                # uv_sync puts only the environment's programs on the path, and the command begins with uv.
                .dockerfile_commands("ENV PATH=/.uv:$PATH")
                .add_local_dir(str(tree.folder), settings.APP_DIR, copy=False)
            )
            return await image.build.aio(await cloud.app())

        hint = "An index that uv.lock names may be out of Modal's reach: move uv.lock away. " if spec.locked else ""
        return self._call(work, self.limits.build_s, "building the image", hint)

    def sandbox_env(self, sealed: tuple[Sealed, ...]) -> dict[str, str]:
        """Environment of the sandbox, beyond what the wrapper sets itself."""
        mounts = {item.mount for item in sealed}
        env = {
            ENV_SEED: str(self.launch.seed),
            wrapper.ENV_SEALED: settings.HOME_MOUNT if settings.HOME_MOUNT in mounts else "",
            wrapper.ENV_SEALED_HF: settings.HF_MOUNT if settings.HF_MOUNT in mounts else "",
            "UV_NO_SYNC": "1",
            "UV_FROZEN": "1",
            "UV_PROJECT_ENVIRONMENT": settings.VENV_DIR,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return env | {name: self.env[name] for name in FORWARDED if self.env.get(name)}

    def attempt(
        self,
        cloud: Cloud,
        number: int,
        image: Any,
        volumes: Mapping[str, Any],
        sealed: tuple[Sealed, ...],
        emit: Callable[[bytes], None],
    ) -> Watched:
        """Makes one sandbox and follows it to its end.

        Raises:
            StoppedError, CloudError: there was no sandbox to follow.
        """
        launch = self.launch
        mark = wrapper.new_mark()
        lists = {item.mount: item.manifest.check_sha256 for item in sealed}
        order = SandboxOrder(
            entrypoint=wrapper.entrypoint(
                mark,
                launch.command,
                launch.timeout_s,
                self.limits.kill_after_s,
                lists.get(settings.HOME_MOUNT, ""),
                lists.get(settings.HF_MOUNT, ""),
            ),
            name=reap.sandbox_name(launch.commit, launch.run, number),
            tags=reap.tags_for(launch.run, launch.commit, reap.this_process()),
            env=self.sandbox_env(sealed),
            gpu=self.gpu,
            cpu=settings.CPU_CORES,
            memory_mib=settings.MEMORY_MIB,
            life_s=self.limits.sandbox_s(launch.timeout_s),
            workdir=settings.APP_DIR,
        )
        self.facts |= {"attempts": str(number), "sandbox_name": order.name}
        launcher = Launcher(cloud, self.limits, self.stop, self.say)
        self.say(f"asking for {self.gpu}, sandbox {order.name}")
        with self.phase("queue"):
            got = launcher.create(order, image, volumes, launch.queue_timeout_s)
        self.facts["sandbox_id"] = got.sandbox.object_id
        self.say(f"sandbox {got.sandbox.object_id} has its GPU after {self.phases_s['queue']:.1f} s")
        began = time.monotonic()
        try:
            watch = Watch(cloud, launcher, got.sandbox, mark, self.limits)
            watched = watch.follow(emit, self.stop, launch.timeout_s, launch.queue_timeout_s, got.adopted)
        finally:
            self.billed_s += time.monotonic() - began
        self.phases_s["start"] = self.phases_s.get("start", 0.0) + watched.start_s
        self.phases_s["run"] = watched.seen.end.took_s if watched.seen.end else watched.run_s
        return watched

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]], limit_s: float, doing: str, hint: str = "") -> T:
        call = Call(work)
        try:
            return call.wait(self.stop, limit_s, self.limits.tick_s)
        except (StoppedError, CloudError, data.DataChangedError):
            raise
        except LateError:
            raise CloudError("infrastructure", f"Modal was not done with {doing} after {limit_s:g} s.") from None
        except Exception as error:
            kind = failure_kind(error)
            what = f"Modal failed while {doing} ({describe(error)})."
            raise CloudError(kind, what, hint + NEXT_STEPS[kind] if hint else "") from error
        finally:
            if not call.done():
                call.cancel(self.limits.let_go_s)


def client_version() -> str:
    """Version of the installed client."""
    return str(importlib.import_module("modal").__version__)


def this_environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ
