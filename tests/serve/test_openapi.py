"""The service keeps what its OpenAPI document promises, whatever is sent."""

from collections.abc import Iterator
from typing import Any

import pytest

from facewright.serve.application import Limits, application
from facewright.serve.crew import Crew
from tests.toy_work import load_toy_work

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # a generator of tests of its own, with warnings of its own
]


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    made = Crew(load_toy_work, threads=None, limit_s=5.0)
    made.start()
    yield made
    made.close()


@pytest.mark.parametrize("path", ["/v1/faces", "/v1/edit", "/health", "/metrics"])
def test_answers_are_those_of_the_document(path: str, crew: Crew) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", application(crew, limits=Limits(most_bytes=100_000)))
    schemathesis.checks.load_all_checks()
    # But one: what counts as a picture, or as a face, no schema can say.
    wanted = [check for check in schemathesis.checks.CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]
    (operation,) = [found.ok() for found in schema.get_all_operations() if found.ok().path == path]

    @hypothesis.settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @hypothesis.given(case=operation.as_strategy())
    def kept(case: Any) -> None:
        case.call_and_validate(checks=wanted)

    kept()
