"""The HTTP side, before processes that do next to nothing: what is taken, what is refused, and in which words."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("prometheus_client", reason="the extra serve is not installed")

import httpx

from facewright.serve.application import ROUTES, Limits, application
from facewright.serve.crew import Crew
from facewright.serve.described import EDIT_EXAMPLE
from tests.toy_work import load_toy_work

JPEG = {"content-type": "image/jpeg"}
TOKEN = "a token of 24 letters 00"

Scene = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    made = Crew(load_toy_work, threads=None, together=4, most=6, limit_s=2.0)
    made.start()
    yield made
    made.close()


@pytest.fixture
def play(crew: Crew) -> Callable[..., None]:
    def played(scene: Scene, **settings: Any) -> None:
        app = application(crew, limits=Limits(most_bytes=1000, body_s=0.2), **settings)

        async def run() -> None:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
                await scene(client)

        asyncio.run(run())
        assert crew.inside == 0

    return played


async def refused(answer: Awaitable[httpx.Response], status: int, error: str) -> httpx.Response:
    response = await answer
    assert (response.status_code, response.json()["error"]) == (status, error), response.text
    assert set(response.json()) == {"error", "message"}
    assert response.headers["cache-control"] == "no-store"
    return response


def test_a_picture_is_taken_as_a_body_or_in_a_form_and_answered_as_it_is_wanted(play: Callable[..., None]) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/faces", content=b"picture", headers=JPEG)
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        assert response.headers["facewright-faces"] == "1"
        for headers, query in (
            ({"accept": "model/gltf-binary"}, ""),
            ({"accept": "application/json;q=0.5, model/*"}, "?texture_px=64&face=0"),
            ({"accept": "text/html"}, "?format=glb"),
        ):
            response = await client.post(f"/v1/faces{query}", content=b"picture", headers=JPEG | headers)
            assert (response.status_code, response.headers["content-type"]) == (200, "model/gltf-binary")
        form = {"picture": ("../../etc/passwd", b"sleep 0", "image/png")}
        assert (await client.post("/v1/faces", files=form)).status_code == 200
        assert (await client.post("/v1/edit", json=EDIT_EXAMPLE)).status_code == 200

    play(scene)


def test_what_is_wrong_is_refused_by_name(play: Callable[..., None]) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        def post(query: str = "", content: Any = b"picture", **headers: str) -> Awaitable[httpx.Response]:
            return client.post(f"/v1/faces{query}", content=content, headers=JPEG | headers)

        await refused(post(accept="text/html"), 406, "NotOffered")
        await refused(post(**{"content-type": "application/json"}), 415, "UnknownBody")
        await refused(post(content=b""), 422, "NoPicture")
        await refused(post("?path=/etc/passwd"), 422, "WrongParameter")
        await refused(post("?texture_px=100000&format=glb"), 422, "WrongParameter")
        await refused(post("?texture_px=64"), 422, "WrongParameter")  # a document has no texture: it would be ignored
        await refused(post("?format=glb&files=ply"), 422, "WrongParameter")
        await refused(post("?format=zip&files=exe"), 422, "WrongParameter")
        await refused(client.get("/v1/faces"), 405, "MethodNotAllowed")
        await refused(client.get("/docs"), 404, "NotFound")
        await refused(client.post("/v1/faces", data={"url": "http://x/a.jpg"}), 415, "UnknownBody")
        await refused(client.post("/v1/faces", files={"photo": b"a"}), 422, "UnexpectedParts")
        await refused(client.post("/v1/faces", files=[("picture", b"a"), ("picture", b"b")]), 422, "UnexpectedParts")
        broken = {"content-type": "multipart/form-data; boundary=x"}
        await refused(post(content=b"nothing of the kind", **broken), 400, "MalformedForm")
        await refused(post(content=b"", **{"content-type": "multipart/form-data"}), 400, "MalformedForm")
        for wish in (
            {"face": {}, "neutral": True, "expression_of": {}},
            {"face": {}, "with_pose": True},
            {"face": {}, "light_from": [0, 0, 0]},
            {"face": {}, "light_of": {}, "light_from": [1, 0, 0]},
        ):
            await refused(client.post("/v1/edit", json=wish), 422, "SettingsError")
        for body in (b"{", b"[]", b'{"face": {}, "path": "a"}', b'{"face": "a.json"}', b"[" * 500):
            headers = {"content-type": "application/json"}
            answer = await refused(client.post("/v1/edit", content=body, headers=headers), 422, "MalformedEdit")
            assert "a.json" not in answer.text  # what was sent does not come back
        await refused(client.post("/v1/edit", content=b"{}", headers=JPEG), 415, "UnknownBody")
        await refused(client.post("/v1/edit?size_px=64", json=EDIT_EXAMPLE), 422, "WrongParameter")

    play(scene)


def test_bodies_are_bounded_whatever_was_announced(play: Callable[..., None]) -> None:
    async def large() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(1.0)
        yield b"x"

    async def scene(client: httpx.AsyncClient) -> None:
        await refused(client.post("/v1/faces", content=b"x" * 2000, headers=JPEG), 413, "BodyTooLarge")
        await refused(client.post("/v1/faces", content=large(), headers=JPEG), 413, "BodyTooLarge")
        await refused(client.post("/v1/faces", content=slow(), headers=JPEG), 408, "BodyTooSlow")
        odd = JPEG | {"content-length": "9" * 400}
        await refused(client.post("/v1/faces", content=b"x", headers=odd), 413, "BodyTooLarge")

    play(scene)


def test_requests_that_arrive_together_are_done_together_and_no_more_than_fit(play: Callable[..., None]) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        def post(content: bytes) -> Awaitable[httpx.Response]:
            return client.post("/v1/faces", content=content, headers=JPEG)

        answers = await asyncio.gather(*[post(b"sleep 0.1") for _ in range(8)])
        codes = [answer.status_code for answer in answers]
        assert sorted(codes) == [200] * 6 + [429] * 2
        full = answers[codes.index(429)]
        assert full.json()["error"] == "Full"
        assert 1 <= int(full.headers["retry-after"]) <= 120
        assert any(int(answer.headers.get("facewright-faces", 0)) > 1 for answer in answers)

    play(scene)


def test_a_request_that_kills_or_holds_its_process_is_answered_and_the_next_one_too(play: Callable[..., None]) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        def post(content: bytes) -> Awaitable[httpx.Response]:
            return client.post("/v1/faces", content=content, headers=JPEG)

        await refused(post(b"die"), 500, "ProcessDied")
        await refused(post(b"sleep 60"), 504, "TookTooLong")
        assert (await post(b"a")).status_code == 200
        assert (await client.get("/health")).json()["ready"] == 1
        metrics = (await client.get("/metrics")).text
        assert 'facewright_requests_lost_total{how="died"} 1.0' in metrics
        assert 'facewright_requests_total{route="/v1/faces",status="500"} 1.0' in metrics
        assert "facewright_workers_replaced_total 2.0" in metrics

    play(scene)


def test_a_token_is_wanted_everywhere_but_for_health(play: Callable[..., None]) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        assert (await client.get("/health")).status_code == 200
        for path in ("/v1/faces", "/metrics", "/openapi.json", "/nothing"):
            for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
                answer = await refused(client.post(path, headers=given), 401, "Unauthorised")
                assert answer.headers["www-authenticate"] == "Bearer"
        good = {"authorization": f"Bearer {TOKEN}"}
        assert (await client.post("/v1/faces", content=b"a", headers=JPEG | good)).status_code == 200
        twice = [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer x")]
        await refused(client.get("/metrics", headers=twice), 401, "Unauthorised")
        schema = (await client.get("/openapi.json", headers=good)).json()
        assert schema["security"] == [{"token": []}]
        assert schema["paths"]["/health"]["get"]["security"] == []

    play(scene, token=TOKEN)


def test_the_openapi_document_tells_what_there_is(play: Callable[..., None]) -> None:
    async def scene(client: httpx.AsyncClient) -> None:
        schema = (await client.get("/openapi.json")).json()
        assert set(schema["paths"]) == {*ROUTES} - {"/openapi.json"}
        faces = schema["paths"]["/v1/faces"]["post"]
        assert {"image/jpeg", "multipart/form-data"} <= set(faces["requestBody"]["content"])
        assert set(faces["responses"]["200"]["content"]) == {"application/json", "model/gltf-binary", "application/zip"}
        assert {"413", "422", "429", "500", "504"} <= set(faces["responses"])
        body = schema["paths"]["/v1/edit"]["post"]["requestBody"]["content"]["application/json"]
        assert body["example"] == json.loads(json.dumps(EDIT_EXAMPLE))
        assert body["schema"]["additionalProperties"] is False

    play(scene)
