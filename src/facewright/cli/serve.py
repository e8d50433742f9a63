"""``facewright serve``: a service that answers pictures with faces."""

import logging
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from facewright.bounds import bounded
from facewright.cli.console import DONE, CommandError, complain, say
from facewright.cli.threads import MOST_THREADS
from facewright.pipeline.methods import MOST_ROUNDS
from facewright.serve.application import Limits, application, require_serve
from facewright.serve.crew import Crew
from facewright.serve.face_work import load_face_work
from facewright.serve.listening import bound_socket, listen

LEAST_TOKEN = 16


@dataclass(frozen=True)
class Serve:
    """Answer pictures with 3D faces over HTTP."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is reached from this machine alone."""
    port: int = bounded(8000, most=65535)
    """Port to listen on; 0: any that is free."""
    token_file: Path | None = None
    """File with the token that clients must bear (``Authorization: Bearer TOKEN``). Default: nobody is asked."""
    method: str = "auto"
    """As of ``reconstruct``."""
    weights: str | None = None
    """As of ``reconstruct``."""
    refine: int | None = bounded(None, most=MOST_ROUNDS)
    """As of ``reconstruct``."""
    face_model: str = "open"
    """As of ``reconstruct``."""
    device: str = "cpu"
    """Torch device: cpu, cuda, mps."""
    workers: int = bounded(1, least=1, most=256)
    """Processes that reconstruct, each with the networks in its memory."""
    threads: int = bounded(1, least=1, most=MOST_THREADS)
    """Of the processor, for each of them."""
    together: int = bounded(8, least=1, most=256)
    """Most requests that go through the networks together."""
    queue: int = bounded(32, least=1, most=10_000)
    """Most requests inside, waiting or in work; others are told to come again (429)."""
    time_limit: float = bounded(60.0, least=0.1, most=86_400.0)
    """Seconds that work on a request may take; then its process is killed and replaced."""
    max_megabytes: float = bounded(20.0, least=0.001, most=1000.0)
    """Refuse larger bodies while they come."""
    max_megapixels: float = bounded(50.0, least=0.001, most=10_000.0)
    """Refuse larger pictures before decoding them."""

    def run(self) -> int:
        """Answer until SIGTERM or SIGINT."""
        require_serve()
        token = None if self.token_file is None else _token(self.token_file)
        with bound_socket(self.host, self.port) as bound:
            if token is None and not _is_loopback(self.host):
                complain("warning:", f"whoever reaches {self.host} may use this service; --token-file FILE asks them")
            crew = Crew(
                partial(
                    load_face_work,
                    most_pixels=int(self.max_megapixels * 1e6),
                    face_model=self.face_model,
                    method=self.method,
                    weights=self.weights,
                    refine=self.refine,
                    device=self.device,
                ),
                workers=self.workers,
                threads=self.threads,
                together=self.together,
                most=self.queue,
                limit_s=self.time_limit,
            )
            crew.start()
            try:
                logging.getLogger("uvicorn").setLevel(logging.ERROR)
                address = f"{self.host}:{bound.getsockname()[1]}"
                listen(
                    application(crew, limits=Limits(int(self.max_megabytes * 1e6)), token=token),
                    bound,
                    grace_s=self.time_limit,
                    on_ready=lambda: say(f"listening on http://{address}; /openapi.json says what is answered"),
                )
            finally:
                crew.close()
        return DONE


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise CommandError(
            f"expected --token-file to be a readable file of plain letters, received {path}: {error}"
        ) from error
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise CommandError(f"expected a token of at least {LEAST_TOKEN} letters on one line in {path}")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
