"""The HTTP side: requests are checked and counted here, and nothing is decoded.

FastAPI and what comes with it are loaded when a service is made (extra ``serve``).
"""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

from facewright.errors import FacewrightError, MissingExtraError, SettingsError
from facewright.export.formats import ALL_FORMATS, FormatName
from facewright.pipeline.flow import FacesChoice
from facewright.provenance import VERSION
from facewright.serve.crew import Crew, FullError, WaitedTooLongError
from facewright.serve.described import (
    DESCRIPTION,
    FACE_EXAMPLE,
    PROBLEMS,
    Health,
    Problem,
    edit_body,
    picture_body,
    success,
)
from facewright.serve.intake import Refusal, body_of, picture_in_form
from facewright.serve.jobs import MEDIA, EditJob, EditWish, FacesJob
from facewright.serve.measures import Measures
from facewright.workers import LostProcessError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

MOST_EDIT_BYTES = 1 << 20
"""Of the body of ``/v1/edit``: text, which takes up to thirty times that when it is read."""

ROUTES = ("/v1/faces", "/v1/edit", "/health", "/metrics", "/openapi.json")
_OPEN = ("/health",)
_DRAIN_S = 5.0

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """Of what one client may ask.

    Attributes:
        most_bytes: of a body.
        body_s: seconds that a body may take to come.
    """

    most_bytes: int = 20_000_000
    body_s: float = 30.0


def require_serve() -> None:
    """See to it that a service can be made.

    Raises:
        MissingExtraError: a package of the extra ``serve`` is not installed.
    """
    for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        try:
            import_module(name)
        except ImportError as error:
            raise MissingExtraError(
                f"the service expects the package {name}, which is not installed: pip install 'facewright[serve]'"
            ) from error


def application(crew: Crew, *, limits: Limits | None = None, token: str | None = None) -> "FastAPI":
    """The service before a started crew.

    Args:
        crew: does the work.
        limits: of requests.
        token: that clients must bear; None: nobody is asked.

    Raises:
        MissingExtraError: see ``require_serve``.
    """
    require_serve()
    from fastapi import FastAPI

    measures = Measures(crew)
    app = FastAPI(
        title="facewright", version=VERSION, description=DESCRIPTION, docs_url=None, redoc_url=None
    )  # pages that ask for scripts from elsewhere are not offered
    _add_problems(app)
    _add_work(app, _Desk(crew, limits or Limits(), measures))
    _add_state(app, crew, measures)
    app.add_middleware(_Door, measures=measures, token=token, most=(limits or Limits()).most_bytes)
    _note_token(app.openapi(), token)
    return app


@dataclass(frozen=True)
class _Desk:
    """Where requests are taken in and answers are handed out."""

    crew: Crew
    limits: Limits
    measures: Measures

    async def answered(self, request: "Request", most: int, job_of: Callable[[bytes], Any]) -> "Response":
        """What the crew makes of a request's body.

        Raises:
            Refusal: of any status but 200.
        """
        from fastapi import Response

        try:
            with self.crew.entered():
                job = job_of(await body_of(request, most=most, limit_s=self.limits.body_s))
                head, body = await _while_client_waits(request, asyncio.wrap_future(self.crew.submit(job)))
        except FullError as error:
            raise Refusal(429, "Full", str(error), Retry_After=str(self.crew.retry_after_s)) from error
        except WaitedTooLongError as error:
            raise Refusal(503, "WaitedTooLong", str(error), Retry_After=str(self.crew.retry_after_s)) from error
        except LostProcessError as error:
            if error.overdue:
                message = f"expected work of at most {self.crew.limit_s:g} s; send a smaller picture"
                raise Refusal(504, "TookTooLong", message) from error
            raise Refusal(500, "ProcessDied", "the process that worked on this request died; it is replaced") from error
        except Refusal:
            raise
        except SettingsError as error:
            raise Refusal(422, "SettingsError", str(error)) from error
        except FacewrightError as error:
            log.error("no process can be started: %s", error)
            raise Refusal(503, "NoProcess", "no process is there to work on it", Retry_After="30") from error
        if head["status"] != 200:
            raise Refusal(head["status"], head["error"], head["message"])
        self.measures.faces.inc(head.get("faces", 0))
        return Response(body, media_type=head["media"], headers={"Facewright-Faces": str(head.get("faces", 0))})


async def _while_client_waits(request: "Request", answer: "asyncio.Future[Any]") -> Any:
    """The answer; a client that has gone is waited for no more, and its job forgotten if it was not begun.

    Raises:
        Refusal: it has gone.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({answer, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise Refusal(400, "ClientGone", "the client has closed the connection")  # which nobody reads
        return answer.result()
    finally:
        watch.cancel()
        answer.cancel()


def _add_work(app: "FastAPI", desk: _Desk) -> None:
    from fastapi import Query, Request, Response
    from pydantic import TypeAdapter, ValidationError

    wishes: Any = TypeAdapter(EditWish)
    usual: list[FormatName] = list(ALL_FORMATS)
    asked_format = Query(alias="format", description="What is wanted; else the Accept header says it, else json.")

    @app.post(
        "/v1/faces",
        summary="Reconstruct the faces of a picture",
        response_class=Response,
        responses=success(("json", "glb", "zip"), {"faces": [FACE_EXAMPLE], "failures": []}) | PROBLEMS,
        openapi_extra=picture_body(),
    )
    async def faces(
        request: Request,
        wish: Annotated[Literal["json", "glb", "zip"] | None, asked_format] = None,
        faces: Annotated[FacesChoice, Query(description="All faces, or only the largest.")] = "all",
        face: Annotated[int, Query(ge=0, le=99, description="With glb: which face, the largest first.")] = 0,
        files: Annotated[list[FormatName], Query(max_length=20, description="With zip: files of each face.")] = usual,
        texture_px: Annotated[int, Query(ge=16, le=4096, description="With glb and zip: side of textures, px.")] = 1024,
    ) -> Response:
        """The picture is the body, or the part ``picture`` of a form."""
        _refuse_unknown(request, {"format", "faces", "face", "files", "texture_px"})
        wanted = wish or _accepted(request, ("json", "glb", "zip"))
        _refuse_unused(request, wanted, {"face": ("glb",), "files": ("zip",), "texture_px": ("glb", "zip")})
        kind = _kind_of_body(request)

        def job(body: bytes) -> FacesJob:
            picture = picture_in_form(body, request.headers["content-type"]) if kind == "form" else body
            if not picture:
                raise Refusal(422, "NoPicture", "expected a picture, received no bytes")
            return FacesJob(picture, wanted, faces, face, tuple(dict.fromkeys(files)), texture_px)

        return await desk.answered(request, desk.limits.most_bytes, job)

    @app.post(
        "/v1/edit",
        summary="Change the expression, pose or light of a face",
        response_class=Response,
        responses=success(("json", "glb", "png"), {"faces": [FACE_EXAMPLE]}) | PROBLEMS,
        openapi_extra=edit_body(wishes.json_schema()),
    )
    async def edit(
        request: Request,
        wish: Annotated[Literal["json", "glb", "png"] | None, asked_format] = None,
        size_px: Annotated[int, Query(ge=16, le=2048, description="With png: its side, px.")] = 512,
    ) -> Response:
        """The body is JSON: a face as ``/v1/faces`` answered it, and what is to be another; all else stays."""
        _refuse_unknown(request, {"format", "size_px"})
        wanted = wish or _accepted(request, ("json", "glb", "png"))
        _refuse_unused(request, wanted, {"size_px": ("png",)})
        if _media_type(request) != MEDIA["json"]:
            raise Refusal(415, "UnknownBody", f"expected a body of {MEDIA['json']}, received {_media_type(request)!r}")

        def job(body: bytes) -> EditJob:
            try:
                change = wishes.validate_json(body)
            except ValidationError as error:
                raise Refusal(422, "MalformedEdit", _in_words(error.errors(include_url=False))) from error
            change.check()
            return EditJob(change, wanted, size_px)

        return await desk.answered(request, MOST_EDIT_BYTES, job)


def _add_state(app: "FastAPI", crew: Crew, measures: Measures) -> None:
    from fastapi import Response
    from fastapi.responses import JSONResponse

    @app.get(
        "/health",
        summary="Whether the service can work",
        response_model=Health,
        responses={503: {"model": Health, "description": "No process is there."}},
    )
    async def health() -> Response:
        """Open to everybody, whatever the token."""
        ready = crew.ready
        state = Health("ok" if ready else "starting", ready, crew.inside, crew.most, **crew.facts, version=VERSION)
        return JSONResponse(asdict(state), 200 if ready else 503)

    @app.get(
        "/metrics",
        summary="Counts and times, as Prometheus reads them",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, 401: PROBLEMS[401]},
    )
    async def metrics() -> Response:
        """Nothing of any picture."""
        text, media = measures.text()
        return Response(text, media_type=media)


def _add_problems(app: "FastAPI") -> None:
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    def told(status: int, kind: str, message: str, headers: Any = None) -> JSONResponse:
        return JSONResponse(asdict(Problem(kind, message)), status, headers)

    async def refused(request: Any, error: Any) -> JSONResponse:
        return told(error.status, error.kind, str(error), error.headers)

    async def invalid(request: Any, error: Any) -> JSONResponse:
        return told(422, "WrongParameter", _in_words(error.errors()))

    async def http(request: Any, error: Any) -> JSONResponse:
        return told(error.status_code, str(error.detail).title().replace(" ", ""), str(error.detail), error.headers)

    async def unforeseen(request: Any, error: Any) -> JSONResponse:
        return told(500, "UnexpectedError", "the service failed on this request")

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)


def _in_words(errors: Any) -> str:
    """What a validator found; without what was sent."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in errors[:5])


def _media_type(request: "Request") -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _kind_of_body(request: "Request") -> Literal["picture", "form"]:
    media = _media_type(request)
    if media == "multipart/form-data":
        return "form"
    if media in ("", "application/octet-stream") or media.startswith("image/"):
        return "picture"
    raise Refusal(
        415, "UnknownBody", f"expected image/*, application/octet-stream or multipart/form-data, received {media!r}"
    )


def _accepted(request: "Request", offered: tuple[str, ...]) -> Any:
    """The offer that the Accept header likes best; the first one where it does not care."""
    weights: dict[str, float] = {}
    for entry in request.headers.get("accept", "*/*").lower().split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        weights[media] = float(quality) if quality.replace(".", "", 1).isdecimal() and quality.isascii() else 0.0

    def liked(name: str) -> float:
        media = MEDIA[name]
        return weights.get(media, weights.get(f"{media.partition('/')[0]}/*", weights.get("*/*", 0.0)))

    best = max(offered, key=liked)
    if liked(best) <= 0.0:
        known = ", ".join(MEDIA[name] for name in offered)
        raise Refusal(406, "NotOffered", f"expected Accept to name one of {known}, or a parameter format")
    return best


def _refuse_unknown(request: "Request", known: set[str]) -> None:
    if unknown := set(request.query_params) - known:
        wrong = ", ".join(sorted(unknown))
        raise Refusal(422, "WrongParameter", f"expected parameters out of {', '.join(sorted(known))}; received {wrong}")


def _refuse_unused(request: "Request", wanted: str, uses: dict[str, tuple[str, ...]]) -> None:
    for name, answers in uses.items():
        if name in request.query_params and wanted not in answers:
            raise Refusal(
                422, "WrongParameter", f"expected {name} only with {' or '.join(answers)}; it would be ignored"
            )


def _note_token(schema: dict[str, Any], token: str | None) -> None:
    """Say in the OpenAPI document that a token is wanted."""
    if token is not None:
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        for path in _OPEN:
            schema["paths"][path]["get"]["security"] = []


class _Door:
    """Before everything: the token, the counts, and bodies that nobody wants, which pass so that clients hear why."""

    def __init__(self, app: Any, *, measures: Measures, token: str | None, most: int) -> None:
        self._app, self._measures, self._most = app, measures, most
        self._token = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        route = scope["path"] if scope["path"] in ROUTES else "other"
        body = _Body(receive)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:
                    await body.drain(2 * self._most)
                fixed = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
                message["headers"] = [*message.get("headers", []), *fixed]
            await send(message)

        try:
            if self._token is None or route in _OPEN or self._bears(scope):
                await self._app(scope, body.receive, sent)
            else:
                await _unauthorised(scope, body.receive, sent)
        finally:
            self._measures.requests.labels(route, str(status)).inc()
            self._measures.seconds.labels(route).observe(time.perf_counter() - start)

    def _bears(self, scope: Message) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        right = hmac.compare_digest(_digest(token.strip()), self._token or b"")  # as long for all wrong ones
        return right and scheme.lower() == b"bearer"


class _Body:
    """A request's body, and how much of it has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False
        self._bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = self._ended or message["type"] != "http.request" or not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        return message

    async def drain(self, most: int) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                while not self._ended and self._bytes <= most:
                    await self.receive()
        except TimeoutError:
            return


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


async def _unauthorised(scope: Message, receive: Receive, send: Send) -> None:
    from fastapi.responses import JSONResponse

    problem = Problem("Unauthorised", "expected the service's token: Authorization: Bearer TOKEN")
    answer: Any = JSONResponse(asdict(problem), 401, {"WWW-Authenticate": "Bearer"})
    await answer(scope, receive, send)
