"""What clients send, taken in within bounds: bytes are counted as they come, whatever was announced."""

import asyncio
from typing import Any

from facewright.errors import FacewrightError

PICTURE_PART = "picture"
"""Name of the part of a form that holds the picture."""

_MOST_PARTS = 8


class Refusal(FacewrightError):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        kind: name of what was wrong, for programs.
        headers: of the answer.
    """

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


async def body_of(request: Any, *, most: int, limit_s: float) -> bytes:
    """The body of a request.

    Args:
        request: of starlette.
        most: bytes.
        limit_s: seconds that it may take to come.

    Raises:
        Refusal: too large, too slow, or cut off.
    """
    from starlette.requests import ClientDisconnect

    announced = request.headers.get("content-length", "")
    too_large = Refusal(413, "BodyTooLarge", f"expected a body of at most {most} bytes; send a smaller picture")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > most:
        raise too_large
    received = bytearray()
    try:
        async with asyncio.timeout(limit_s):
            async for chunk in request.stream():
                received += chunk
                if len(received) > most:
                    raise too_large
    except TimeoutError as error:
        raise Refusal(408, "BodyTooSlow", f"expected the body within {limit_s:g} s") from error
    except ClientDisconnect as error:
        raise Refusal(400, "BodyCutOff", "expected a whole body, the connection was closed before its end") from error
    return bytes(received)


def picture_in_form(body: bytes, content_type: str) -> bytes:
    """The one picture in a ``multipart/form-data`` body; nothing of it touches the disk.

    Raises:
        Refusal: malformed, or not exactly one part that is named ``picture``.
    """
    from python_multipart.exceptions import ParseError
    from python_multipart.multipart import MultipartParser, parse_options_header

    parts = _Parts()
    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 0 < len(boundary) <= 200:
            raise Refusal(400, "MalformedForm", "expected a boundary in the content type of multipart/form-data")
        callbacks: Any = parts.callbacks()
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
        names = [parse_options_header(headers.get(b"content-disposition"))[1].get(b"name") for headers in parts.headers]
    except (ParseError, ValueError, UnicodeError) as error:
        raise Refusal(400, "MalformedForm", f"expected multipart/form-data, received another body ({error})") from error
    if not parts.ended or names != [PICTURE_PART.encode()]:
        raise Refusal(
            422,
            "UnexpectedParts",
            f"expected one whole part that is named {PICTURE_PART!r}; options are parameters of the address",
        )
    return bytes(parts.contents[0])


class _Parts:
    """Parts of a form as they are parsed."""

    def __init__(self) -> None:
        self.headers: list[dict[bytes, bytes]] = []
        self.contents: list[bytearray] = []
        self.ended = False
        self._name, self._value = bytearray(), bytearray()

    def callbacks(self) -> dict[str, Any]:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.contents[-1].extend(memoryview(data)[start:end]),
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.headers) == _MOST_PARTS:
            raise ValueError("too many parts")
        self.headers.append({})
        self.contents.append(bytearray())

    def _header(self) -> None:
        self.headers[-1][bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        self.ended = True
