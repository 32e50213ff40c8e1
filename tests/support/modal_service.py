"""The RPCs of the Modal stand-in: apps, images, files and sandboxes, as the real client calls them."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import string
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_grpc
from modal_proto import api_pb2 as pb
from support.modal_bytes import BLOCK_BYTES, Bytes, Volume, empty
from support.modal_containers import Container
from support.modal_faults import Counts, Faults

LOG_WAIT_S = 0.02  # between two looks at a sandbox's log
STALL_LINES = 5  # lines that a stalling stream still sends
LONG_POLL_S = 5.0  # longest a question after a sandbox's state is held


def _unavailable(what: str) -> GRPCError:
    return GRPCError(Status.UNAVAILABLE, f"{what}: unavailable (played)")


def _new_id(kind: str) -> str:
    letters = string.ascii_letters + string.digits
    return f"{kind}-" + "".join(secrets.choice(letters) for _ in range(22))


class Service:
    """The RPCs that a GPU run needs, by name."""

    def __init__(self, faults: Faults, counts: Counts, folder: Path) -> None:
        self.faults = faults
        self.counts = counts
        self.folder = folder
        self.bytes = Bytes(faults, counts)
        self.apps: dict[str, str] = {}
        self.images: dict[str, pb.Image] = {}
        self.mounts: dict[str, list[pb.MountFile]] = {}
        self.volumes: dict[str, Volume] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.containers: dict[str, Container] = {}
        self.definitions: dict[str, pb.Sandbox] = {}
        self.made: dict[str, str] = {}  # idempotency key to sandbox

    # Apps, images, secrets ------------------------------------------------------------------------------------

    async def AppGetOrCreate(self, stream: Any, request: Any) -> Any:
        app = self.apps.setdefault(request.app_name, _new_id("ap"))
        return pb.AppGetOrCreateResponse(app_id=app)

    async def AuthTokenGet(self, stream: Any, request: Any) -> Any:
        def part(value: dict[str, Any]) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        return pb.AuthTokenGetResponse(token=f"{part({'alg': 'none'})}.{part({'exp': time.time() + 3600})}.x")

    async def EnvironmentGetOrCreate(self, stream: Any, request: Any) -> Any:
        settings = pb.EnvironmentSettings(image_builder_version="2025.06")
        return pb.EnvironmentGetOrCreateResponse(
            environment_id="en-standin", metadata=pb.EnvironmentMetadata(name="main", settings=settings)
        )

    async def ImageGetOrCreate(self, stream: Any, request: Any) -> Any:
        key = _new_id("im")
        self.images[key] = request.image
        return pb.ImageGetOrCreateResponse(image_id=key)

    async def ImageJoinStreaming(self, stream: Any, request: Any) -> AsyncIterator[Any]:
        failed = self.faults.image_fails
        result = pb.GenericResult(
            status=pb.GenericResult.GENERIC_STATUS_FAILURE if failed else pb.GenericResult.GENERIC_STATUS_SUCCESS,
            exception="no solution for torch (played)" if failed else "",
        )
        metadata = pb.ImageMetadata(python_version_info="Python 3.11.9", image_builder_version="2025.06")
        yield pb.ImageJoinStreamingResponse(result=result, metadata=metadata, eof=True)

    async def SecretGetOrCreate(self, stream: Any, request: Any) -> Any:
        key = _new_id("st")
        self.secrets[key] = dict(request.env_dict)
        return pb.SecretGetOrCreateResponse(secret_id=key)

    # Files ----------------------------------------------------------------------------------------------------

    async def MountBatchedCheckExistence(self, stream: Any, request: Any) -> Any:
        missing = [h for h in request.sha256_hex_hashes if h not in self.bytes.mounted]
        return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def MountPutFile(self, stream: Any, request: Any) -> Any:
        if request.data or request.sha256_hex not in self.bytes.mounted:
            self.bytes.mounted[request.sha256_hex] = request.data
        return pb.MountPutFileResponse(exists=True)

    async def MountGetOrCreate(self, stream: Any, request: Any) -> Any:
        key = _new_id("mo")
        self.mounts[key] = list(request.files)
        return pb.MountGetOrCreateResponse(mount_id=key, handle_metadata=pb.MountHandleMetadata())

    async def VolumeGetOrCreate(self, stream: Any, request: Any) -> Any:
        name = request.deployment_name
        found = next((v for v in self.volumes.values() if v.name == name), None)
        if found is None:
            found = Volume(_new_id("vo"), name)
            self.volumes[found.id] = found
        version = pb.VOLUME_FS_VERSION_V2
        return pb.VolumeGetOrCreateResponse(
            volume_id=found.id, version=version, metadata=pb.VolumeMetadata(version=version, name=name)
        )

    async def VolumePutFiles2(self, stream: Any, request: Any) -> Any:
        await asyncio.sleep(self.faults.volume_slow_s)
        missing = []
        for i, file in enumerate(request.files):
            for j, block in enumerate(file.blocks):
                name = block.contents_sha256.hex()
                if name not in self.bytes.blocks:
                    url = self.bytes.url(name)
                    missing.append(pb.VolumePutFiles2Response.MissingBlock(file_index=i, block_index=j, put_url=url))
        if not missing:
            volume = self.volumes[request.volume_id]
            for file in request.files:
                # The client leaves a block's trailing zeros out.
                blocks = [self.bytes.blocks[b.contents_sha256.hex()].ljust(BLOCK_BYTES, b"\0") for b in file.blocks]
                volume.files[file.path.strip("/")] = b"".join(blocks)[: file.size]
        return pb.VolumePutFiles2Response(missing_blocks=missing)

    async def VolumeGetFile2(self, stream: Any, request: Any) -> Any:
        await asyncio.sleep(self.faults.volume_slow_s)
        data = self.volumes[request.volume_id].files.get(request.path.strip("/"))
        if data is None:
            raise GRPCError(Status.NOT_FOUND, f"no {request.path}")
        urls = []
        for at in range(0, len(data), BLOCK_BYTES):
            name = _new_id("part")
            self.bytes.blocks[name] = data[at : at + BLOCK_BYTES]
            urls.append(self.bytes.url(name))
        return pb.VolumeGetFile2Response(get_urls=urls, size=len(data), start=0, len=len(data))

    # Sandboxes ------------------------------------------------------------------------------------------------

    async def SandboxCreate(self, stream: Any, request: Any) -> Any:
        if self.faults.create_refused:
            raise GRPCError(Status.INVALID_ARGUMENT, self.faults.create_refused)
        if self.faults.play("create_fails"):
            raise _unavailable("SandboxCreate")
        key = stream.metadata.get("x-idempotency-key", "")
        made = self.made.get(key)
        if made is None:
            name = request.definition.name
            if name and any(c.name == name and c.status is None for c in self.containers.values()):
                raise GRPCError(Status.ALREADY_EXISTS, f"a sandbox named {name} is running")
            container = self._make(request)
            made = self.made[key] = container.id
            asyncio.get_running_loop().call_later(self.faults.gpu_late_s, self._start, container)
        if self.faults.play("create_lost"):
            raise _unavailable("SandboxCreate's answer")
        return pb.SandboxCreateResponse(sandbox_id=made)

    async def SandboxGetTaskId(self, stream: Any, request: Any) -> Any:
        container = self.containers[request.sandbox_id]
        if container.process is None and container.status is not None:
            return pb.SandboxGetTaskIdResponse(task_result=self._result(container))
        return pb.SandboxGetTaskIdResponse(task_id="" if container.process is None else "ta-" + container.id[3:])

    async def SandboxGetLogs(self, stream: Any, request: Any) -> AsyncIterator[Any]:
        if self.faults.play("logs_refused"):
            raise _unavailable("SandboxGetLogs")
        container = self.containers[request.sandbox_id]
        stalls = self.faults.play("logs_stall")
        at = int(request.last_entry_id or 0)
        sent, deadline = 0, time.monotonic() + request.timeout
        while time.monotonic() < deadline:
            ended = container.status is not None
            lines = container.log[at:]
            if stalls and sent >= STALL_LINES:
                await asyncio.sleep(LOG_WAIT_S)
                continue
            for line in lines:
                at += 1
                if line.fd == request.file_descriptor:
                    yield pb.TaskLogsBatch(
                        entry_id=str(at), items=[pb.TaskLogs(data=line.text, file_descriptor=line.fd)]
                    )
                    sent += 1
                    if self.faults.logs_break_every and sent >= self.faults.logs_break_every:
                        raise _unavailable("SandboxGetLogs broke")
            if ended and not lines and not self.faults.logs_never_end:
                yield pb.TaskLogsBatch(entry_id=str(at), eof=True)
                return
            await asyncio.sleep(LOG_WAIT_S)

    async def SandboxWait(self, stream: Any, request: Any) -> Any:
        if self.faults.play("wait_fails"):
            raise _unavailable("SandboxWait")
        container = self.containers[request.sandbox_id]
        deadline = time.monotonic() + min(request.timeout, LONG_POLL_S)
        while container.status is None and time.monotonic() < deadline:
            await asyncio.sleep(LOG_WAIT_S)
        return pb.SandboxWaitResponse(result=self._result(container))

    async def SandboxTerminate(self, stream: Any, request: Any) -> Any:
        if self.faults.play("terminate_fails"):
            raise _unavailable("SandboxTerminate")
        self.containers[request.sandbox_id].end("TERMINATED", 137)
        return pb.SandboxTerminateResponse()

    async def SandboxGetFromName(self, stream: Any, request: Any) -> Any:
        app = self.apps.get(request.app_name)
        for container in self.containers.values():
            if container.name == request.sandbox_name and container.app_id == app and container.status is None:
                return pb.SandboxGetFromNameResponse(sandbox_id=container.id)
        raise GRPCError(Status.NOT_FOUND, f"no running sandbox named {request.sandbox_name}")

    SandboxGetFromNameV2 = SandboxGetFromName

    async def SandboxList(self, stream: Any, request: Any) -> Any:
        if self.faults.play("list_fails"):
            raise _unavailable("SandboxList")
        wanted = {t.tag_name: t.tag_value for t in request.tags}
        found = [
            pb.SandboxInfo(id=c.id, created_at=c.created_at, app_id=c.app_id, name=c.name)
            for c in sorted(self.containers.values(), key=lambda c: -c.created_at)
            if c.status is None
            and c.app_id == request.app_id
            and wanted.items() <= c.tags.items()
            and (not request.before_timestamp or c.created_at < request.before_timestamp)
        ]
        return pb.SandboxListResponse(sandboxes=found)

    SandboxListV2 = SandboxList

    async def SandboxTagsGet(self, stream: Any, request: Any) -> Any:
        tags = self.containers[request.sandbox_id].tags
        return pb.SandboxTagsGetResponse(tags=[pb.SandboxTag(tag_name=k, tag_value=v) for k, v in tags.items()])

    # Inside ---------------------------------------------------------------------------------------------------

    def _make(self, request: Any) -> Container:
        wanted = request.definition
        key = _new_id("sb")
        env = {k: v for secret in wanted.secret_ids for k, v in self.secrets[secret].items()}
        container = Container(
            id=key,
            name=wanted.name,
            tags={t.tag_name: t.tag_value for t in request.tags},
            app_id=request.app_id,
            created_at=time.time(),
            root=empty(self.folder / key),
            entrypoint=tuple(wanted.entrypoint_args),
            env=env,
            workdir=wanted.workdir,
            gpu=wanted.resources.gpu_config.gpu_type,
            timeout_s=wanted.timeout_secs,
            faults=self.faults,
        )
        for mount in wanted.mount_ids:
            for file in self.mounts[mount]:
                target = container.inside(file.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.bytes.mounted[file.sha256_hex])
                target.chmod((file.mode or 0o644) & 0o777)
        for mount in wanted.volume_mounts:
            place = container.inside(mount.mount_path)
            self.volumes[mount.volume_id].lay_out(mount.sub_path, place)
            if self.faults.spoil and (place / self.faults.spoil).exists():
                (place / self.faults.spoil).write_bytes(b"spoiled")
        self.containers[key], self.definitions[key] = container, wanted
        return container

    def _start(self, container: Container) -> None:
        container.start()
        threading.Thread(target=self._settle, args=(container,), daemon=True).start()

    def _settle(self, container: Container) -> None:
        while container.status is None:
            time.sleep(LOG_WAIT_S)
        for mount in self.definitions[container.id].volume_mounts:
            if not mount.read_only:
                self.volumes[mount.volume_id].take_back(mount.sub_path, container.inside(mount.mount_path))

    def _result(self, container: Container) -> Any:
        if container.status is None:
            return pb.GenericResult()
        status = pb.GenericResult.GenericStatus.Value(f"GENERIC_STATUS_{container.status}")
        return pb.GenericResult(status=status, exitcode=container.exit_code)


def servicer(service: Service) -> Any:
    """An object with every RPC of the real service; those not written above answer "unimplemented"."""

    def handler(name: str) -> Callable[..., Any]:
        async def handle(self: Any, stream: Any) -> None:
            service.counts.calls[name] = service.counts.of(name) + 1
            request = await stream.recv_message()
            if service.faults.refuse_token:
                raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed (played)")
            if getattr(request, "sandbox_id", "") not in ("", *service.containers):
                raise GRPCError(Status.NOT_FOUND, f"no sandbox {request.sandbox_id}")
            work = getattr(service, name, None)
            if work is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"the stand-in has no {name}")
            if name in ("SandboxGetLogs", "ImageJoinStreaming"):
                async for message in work(stream, request):
                    await stream.send_message(message)
            else:
                await stream.send_message(await work(stream, request))

        return handle

    names = api_grpc.ModalClientBase.__abstractmethods__
    return type("Servicer", (api_grpc.ModalClientBase,), {name: handler(name) for name in names})()
