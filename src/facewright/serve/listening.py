"""A socket, and the service behind it until it is asked to end."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from facewright.errors import SettingsError

if TYPE_CHECKING:
    from fastapi import FastAPI

_MOST_CONNECTIONS = 2048
_MOST_HEADER_BYTES = 32 << 10


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket of this address that nobody listens on yet; port 0: any that is free.

    Raises:
        SettingsError: there is no such address here, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"expected an address and a port that are free here, received {host}:{port}: {error}"
        ) from error
    return made


def listen(app: "FastAPI", bound: socket.socket, *, grace_s: float, on_ready: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or SIGINT, then those that are inside.

    Args:
        app: of ``application``.
        bound: of ``bound_socket``.
        grace_s: seconds that requests inside have at the end.
        on_ready: called when requests are answered.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # whoever asks for what is nobody's business
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        timeout_graceful_shutdown=int(grace_s) + 1,
    )
    try:
        Server(config).run(sockets=[bound])
    except KeyboardInterrupt:  # uvicorn raises again what made it end, in good order
        return
