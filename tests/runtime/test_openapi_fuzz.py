"""Whatever schemathesis makes of the description: no server error, and no answer that is not described."""

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.faults.support import LiveNode
from tests.runtime.test_courtesy import ask
from tests.waiting import WAIT_S

from taihu.doors.http.openapi import describe
from taihu.doors.http.server import ROUTES

DOCUMENT = msgspec.json.decode(msgspec.json.encode(describe(ROUTES)))
ENROL = "/.well-known/est/simple"


def is_left_out(path: str) -> bool:
    """Streams, which do not end; administration, which removes what the others need; bodies that nothing generates."""
    streams = b"text/event-stream" in msgspec.json.encode(DOCUMENT["paths"][path])
    return streams or path == "/api/v1/admin/{action}" or path.startswith(ENROL)


NAMES = [
    f"{method.upper()} {path}"
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if not is_left_out(path)
]


@cache
def operations() -> dict[str, Any]:
    """Each operation as schemathesis has it, which is imported here: it takes longer than most files of tests."""
    import schemathesis

    schema = schemathesis.openapi.from_dict(DOCUMENT)
    found = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr]  # an invalid one fails here
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_the_description_served_is_the_one_that_is_fuzzed(node: LiveNode) -> None:
    assert msgspec.json.decode(ask(node, "GET", "/api/v1/openapi.json").body) == DOCUMENT
    assert len(NAMES) > 60 and set(NAMES) <= set(operations())


@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_answer_is_a_defect_or_undescribed(node: LiveNode, name: str) -> None:
    """§13"""
    from schemathesis.specs.openapi import checks

    wanted = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
    operation = operations()[name]
    base, headers = f"http://127.0.0.1:{node.http_port}", {"Authorization": f"Bearer {node.operator}"}

    @seed(7)
    @settings(
        max_examples=3, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def fuzz(case: Any) -> None:
        if "project" in (case.path_parameters or {}):
            case.path_parameters["project"] = "plant"
        answer = case.call(base_url=base, headers=headers, timeout=WAIT_S)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        case.validate_response(answer, checks=wanted)

    fuzz()


def test_nothing_of_it_was_a_defect(node: LiveNode) -> None:
    assert not node.log_lines("ingest", "Traceback"), node.log("ingest")[-3_000:]
    assert not node.log_lines("worker", "Traceback"), node.log("worker")[-3_000:]
