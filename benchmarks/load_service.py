"""A service under load: many clients, hostile bodies among them; every right answer is held against a reference.

    python benchmarks/load_service.py [--clients 8] [--seconds 60] [--workers 1] [--hostile 0.2] [--weights open]

Starts ``facewright serve`` and asks it from many clients at once. Pictures are the portraits, cut and scaled; their
answers were made before, without the service, and the largest difference in a landmark is printed. Hostile are cut and
broken pictures, headers that promise gigapixels, forms without an end, huge and slow bodies, connections that close
half-way. A wrong answer is: another status than such a body may have, or a face that differs from its reference.
Memory is that of all processes of the service, sampled each second; its drift is the last fifth over the second one.
"""

import asyncio
import io
import json
import random
import re
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tyro
from PIL import Image

from facewright.assets import embedded_path
from facewright.photo import read_photo
from facewright.pipeline.flow import load_reconstructor

MOST_DIFFERENCE_PX = 1e-2
"""Of a landmark from its reference: what rounding differs with which pictures went through the networks together."""

LAST_S = 30.0
"""Seconds that requests have after the last one was sent."""


@dataclass(frozen=True)
class Arguments:
    """Load a service."""

    clients: int = 8
    """At a time."""
    seconds: float = 60.0
    """Of load."""
    workers: int = 1
    """Of the service."""
    together: int = 8
    """Of the service."""
    queue: int = 32
    """Of the service."""
    time_limit: float = 60.0
    """Of the service, s."""
    hostile: float = 0.2
    """Share of requests that mean no good."""
    weights: str = "open"
    """Of the service."""
    seed: int = 0
    """Of the clients."""


@dataclass
class Seen:
    """What came back."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    largest_px: float = 0.0
    memory: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """A body, and the landmarks of the largest face in it."""

    body: bytes
    landmarks: np.ndarray


def pictures(weights: str) -> list[Picture]:
    """The portraits as they are and smaller, as JPEG and PNG, with what the flow says of them alone."""
    flow = load_reconstructor(weights=weights)
    made = []
    for name in ("astronaut", "grace_hopper"):
        with Image.open(embedded_path(f"photos/{name}.jpg")) as image:
            for scale, kind in ((1.0, "JPEG"), (0.8, "PNG"), (0.6, "JPEG")):
                stream = io.BytesIO()
                image.convert("RGB").resize([round(scale * side) for side in image.size]).save(stream, kind)
                found = flow.faces_in(read_photo(io.BytesIO(stream.getvalue())))
                made.append(Picture(stream.getvalue(), found[0].landmarks.numpy()))
    return made


def gigapixels() -> bytes:
    """A PNG of 100 bytes whose header promises 60000 x 60000."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


class _Client:
    """One of many; asks until the time is over."""

    def __init__(self, http: httpx.AsyncClient, known: list[Picture], seen: Seen, rng: random.Random) -> None:
        self.http, self.known, self.seen, self.rng = http, known, seen, rng
        self.kinds = [name.removeprefix("hostile_") for name in dir(self) if name.startswith("hostile_")]

    async def run(self, until: float, hostile: float) -> None:
        while time.monotonic() < until:
            kind = self.rng.choice(self.kinds) if self.rng.random() < hostile else "picture"
            step = getattr(self, f"hostile_{kind}", self.picture)
            try:
                response, allowed = await step()
            except (httpx.TransportError, OSError):
                if kind not in ("slow", "left", "huge"):  # those may find their connection closed
                    self.seen.wrong.append(f"{kind}: the connection broke")
                self.seen.statuses[kind, 0] += 1
                continue
            if response is None:
                self.seen.statuses[kind, 0] += 1
                continue
            self.seen.statuses[kind, response.status_code] += 1
            if response.status_code not in (*allowed, 429):
                self.seen.wrong.append(f"{kind}: {response.status_code} {response.text[:200]}")
            if response.status_code == 429:
                await asyncio.sleep(0.2 + self.rng.random())

    async def picture(self) -> tuple[Any, tuple[int, ...]]:
        picture = self.rng.choice(self.known)
        start = time.monotonic()
        if self.rng.random() < 0.5:
            response = await self.http.post("/v1/faces", files={"picture": picture.body})
        else:
            response = await self.post(picture.body)
        if response.status_code == 200:
            self.seen.seconds.append(time.monotonic() - start)
            answered = np.asarray(response.json()["faces"][0]["landmarks_68"])
            difference = float(np.abs(answered - picture.landmarks).max())
            self.seen.largest_px = max(self.seen.largest_px, difference)
            if not difference < MOST_DIFFERENCE_PX:
                self.seen.wrong.append(f"picture: landmarks differ by {difference:g} px")
        return response, (200, 503)

    async def post(self, body: Any, path: str = "/v1/faces", **headers: str) -> httpx.Response:
        return await self.http.post(path, content=body, headers={"content-type": "image/jpeg"} | headers)

    async def hostile_cut(self) -> tuple[Any, tuple[int, ...]]:
        body = self.rng.choice(self.known).body
        return await self.post(body[: self.rng.randrange(1, len(body) // 2)]), (422,)

    async def hostile_broken(self) -> tuple[Any, tuple[int, ...]]:
        body = bytearray(self.rng.choice(self.known).body)
        for _ in range(200):
            body[self.rng.randrange(len(body))] = self.rng.randrange(256)
        return await self.post(bytes(body)), (200, 422)

    async def hostile_gigapixels(self) -> tuple[Any, tuple[int, ...]]:
        return await self.post(gigapixels()), (422,)

    async def hostile_noise(self) -> tuple[Any, tuple[int, ...]]:
        return await self.post(self.rng.randbytes(50_000)), (422,)

    async def hostile_form(self) -> tuple[Any, tuple[int, ...]]:
        body = b"--x\r\nContent-Disposition: form-data; name=picture\r\n\r\n" + self.rng.randbytes(10_000)
        return await self.post(body, **{"content-type": "multipart/form-data; boundary=x"}), (400, 422)

    async def hostile_edit(self) -> tuple[Any, tuple[int, ...]]:
        body = self.rng.choice(
            [b"[" * 100_000, b'{"face": {"coefficients": {"id": [1e400]}}}', b"\xff", b'{"face": {}}']
        )
        return await self.post(body, "/v1/edit", **{"content-type": "application/json"}), (422,)

    async def hostile_huge(self) -> tuple[Any, tuple[int, ...]]:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(400):
                yield bytes(100_000)

        return await self.post(body()), (413,)

    async def hostile_left(self) -> tuple[Any, tuple[int, ...]]:
        """Goes away while it is worked on."""
        with suppress(httpx.TimeoutException):
            await self.http.post(
                "/v1/faces",
                content=self.rng.choice(self.known).body,
                headers={"content-type": "image/jpeg"},
                timeout=httpx.Timeout(60, read=self.rng.random()),
            )
        return None, ()

    async def hostile_slow(self) -> tuple[Any, tuple[int, ...]]:
        """Stops half-way."""

        async def body() -> AsyncIterator[bytes]:
            yield bytes(1000)
            await asyncio.sleep(1.0)
            raise OSError("enough")

        return await self.post(body()), (400, 408)


def resident_mb(root: int) -> float:
    """Memory of a process and of all below it, without what they share: the sum of their proportional sets."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    family, total = {root}, 0
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    for pid in family:
        try:
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(found.group(1)) if found else 0
    return total / 1024


async def load(address: str, arguments: Arguments, known: list[Picture], pid: int) -> Seen:
    """Clients at once, and memory each second."""
    seen, until = Seen(), time.monotonic() + arguments.seconds

    async def watched() -> None:
        while time.monotonic() < until:
            seen.memory.append(await asyncio.to_thread(resident_mb, pid))
            await asyncio.sleep(1.0)

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as http:
        clients = [_Client(http, known, seen, random.Random(arguments.seed + k)) for k in range(arguments.clients)]
        asking = [asyncio.ensure_future(client.run(until, arguments.hostile)) for client in clients]
        await watched()
        _, late = await asyncio.wait(asking, timeout=LAST_S)
        for each in late:  # a service that is slower than its clients are patient is no wrong answer
            each.cancel()
        for error in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(error, Exception):
                seen.wrong.append(f"an answer that no client understands: {error!r}")
        print(f"unanswered at the end  {len(late)}")
        metrics = (await http.get("/metrics")).text
        for name in ("workers_replaced", "batches", "batched_requests"):
            found = re.search(rf"^facewright_{name}_total (\S+)", metrics, re.MULTILINE)
            print(f"{name.replace('_', ' '):22s} {float(found.group(1)) if found else 0:.0f}")
        health = (await http.get("/health")).json()
        print(f"health afterwards      {health['status']}, {health['inside']} inside")
    return seen


def report(seen: Seen, seconds: float) -> None:
    """Print what was seen."""
    for (kind, status), count in sorted(seen.statuses.items()):
        print(f"{kind:12s} {status or 'closed':>6} {count:7d}")
    answered = np.sort(seen.seconds)
    if len(answered):
        p50, p99 = np.quantile(answered, [0.5, 0.99])
        print(f"{len(answered)} pictures answered, {len(answered) / seconds:.2f} a second")
        print(f"seconds to an answer: p50 {p50:.2f}, p99 {p99:.2f}")
    print(f"largest difference of a landmark from its reference: {seen.largest_px:.2g} px")
    fifth = len(seen.memory) // 5
    if fifth:
        before, after = np.mean(seen.memory[fifth : 2 * fifth]), np.mean(seen.memory[-fifth:])
        drift, peak = after / before - 1.0, max(seen.memory)
        print(f"memory {before:.0f} MiB, at the end {after:.0f} MiB: drift {drift:+.1%}; peak {peak:.0f}")
    print(f"wrong answers: {len(seen.wrong)}")
    for line in seen.wrong[:10]:
        print(f"  {line}")


def main(arguments: Arguments) -> int:
    """Start, load, report; 1 if an answer was wrong."""
    known = pictures(arguments.weights)
    options = {
        "--port": 0,
        "--workers": arguments.workers,
        "--together": arguments.together,
        "--queue": arguments.queue,
        "--time-limit": arguments.time_limit,
        "--weights": arguments.weights,
        "--max-megabytes": 5,
    }
    command = [sys.executable, "-m", "facewright", "serve", *[str(word) for pair in options.items() for word in pair]]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        line = service.stdout.readline()
        address = line.split()[2].rstrip(";")
        print(f"{arguments.clients} clients for {arguments.seconds:g} s: {json.dumps(options)}")
        seen = asyncio.run(load(address, arguments, known, service.pid))
    finally:
        service.terminate()
        print(f"exit code after SIGTERM: {service.wait(120)}")
    report(seen, arguments.seconds)
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
