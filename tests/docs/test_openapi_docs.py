"""The description of the API covers every endpoint, from the same table that routes requests."""

import re

import msgspec

from taihu.doors.http.openapi import REFUSALS, describe
from taihu.doors.http.server import ROUTES


def test_every_route_is_described() -> None:
    paths = describe(ROUTES)["paths"]
    for route in ROUTES:
        path = re.sub(r":\w+}", "}", route.path)
        assert {method.upper() for method in paths[path]} >= route.methods - {"HEAD"}, path


def test_the_description_says_what_each_does_and_names_nothing_twice() -> None:
    document = describe(ROUTES)
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    identifiers = [operation["operationId"] for operation in operations]
    assert len(identifiers) == len(set(identifiers))
    for operation in operations:
        assert operation["summary"].endswith("."), operation
        assert all(parameter["description"] for parameter in operation["parameters"]), operation
        for status, response in operation["responses"].items():
            assert response.get("$ref", f"#/components/responses/{status}") == f"#/components/responses/{status}"
            assert "$ref" not in response or int(status) in REFUSALS
    references = set(re.findall(r'"(#/components/[^"]+)"', msgspec.json.encode(document).decode()))
    for reference in references:
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]
