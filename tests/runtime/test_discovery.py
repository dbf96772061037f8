"""W3C WoT Discovery (Recommendation of 5 December 2023): each assertion on a directory over HTTP, by its id."""

import http.client
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import jsonschema
import msgspec
import pytest
from tests.faults.support import CLOCK, Answer, LiveNode, wait_until
from tests.runtime.streams import Stream, stream
from tests.runtime.test_wot import SCHEMA
from tests.waiting import WAIT_S

from taihu.kernel.clock import NS_PER_S, format_iso, parse_iso

PROJECT = "lamps"
DIRECTORY = f"/api/v1/projects/{PROJECT}/directory"
THINGS = f"{DIRECTORY}/things"
DISCOVERY = "https://www.w3.org/2022/wot/discovery"
UUID_URN = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

ASSERTIONS = [
    "introduction-direct-thing-description",
    "introduction-direct-directory-description",
    "introduction-well-known-uri",
    "introduction-well-known-path",
    "introduction-well-known-thing-description",
    "exploration-directory-description-type",
    "security-bootstrapping-endpoints",
    "exploration-secboot-401",
    "exploration-secboot-auth",
    "exploration-server-http-method",
    "exploration-server-http-resp",
    "exploration-server-http-resp-content-type",
    "exploration-server-http-resp-json",
    "exploration-server-http-head",
    "tdd-context-injection",
    "tdd-absolute-time",
    "tdd-registrationinfo-vocab-created",
    "tdd-registrationinfo-vocab-modified",
    "tdd-registrationinfo-vocab-expires",
    "tdd-registrationinfo-vocab-ttl",
    "tdd-registrationinfo-vocab-retrieved",
    "tdd-registrationinfo-expiry-purge",
    "tdd-anonymous-td-identifier",
    "tdd-anonymous-td-local-uuid",
    "tdd-http-error-response",
    "tdd-http-error-response-utf-8",
    "tdd-http-head",
    "tdd-http-unsupported-feature",
    "tdd-things-list-only",
    "tdd-things-crud",
    "tdd-things-crudl",
    "tdd-things-read-only-auth",
    "tdd-things-default-representation",
    "tdd-things-representation-alternate-input",
    "tdd-things-create-known-vs-anonymous",
    "tdd-things-create-known-td",
    "tdd-things-create-known-contenttype",
    "tdd-things-create-known-td-resp",
    "tdd-things-create-anonymous-td",
    "tdd-things-create-anonymous-contenttype",
    "tdd-things-create-anonymous-id",
    "tdd-things-create-anonymous-td-resp",
    "tdd-things-retrieve",
    "tdd-things-retrieve-resp",
    "tdd-things-retrieve-resp-content-type",
    "tdd-things-update",
    "tdd-things-update-contenttype",
    "tdd-things-update-resp",
    "tdd-things-update-partial",
    "tdd-things-update-partial-mergepatch",
    "tdd-things-update-partial-contenttype",
    "tdd-things-update-partial-partialtd",
    "tdd-things-update-partial-resp",
    "tdd-things-delete",
    "tdd-things-delete-resp",
    "tdd-things-list-method",
    "tdd-things-list-resp",
    "tdd-things-list-resp-content-type",
    "tdd-things-list-pagination",
    "tdd-things-list-pagination-limit",
    "tdd-things-list-pagination-header-nextlink",
    "tdd-things-list-pagination-header-nextlink-attr",
    "tdd-things-list-pagination-header-nextlink-base",
    "tdd-things-list-pagination-header-canonicallink",
    "tdd-things-list-pagination-order-default",
    "tdd-things-list-pagination-collection",
    "tdd-validation-syntactic",
    "tdd-validation-jsonschema",
    "tdd-validation-result",
    "tdd-validation-response",
    "tdd-validation-response-utf-8",
    "tdd-notification",
    "tdd-notification-sse",
    "tdd-notification-event-id",
    "tdd-notification-event-types",
    "tdd-notification-filter-type",
    "tdd-notification-data",
    "tdd-notification-data-td-id",
    "tdd-notification-data-create-full",
    "tdd-notification-data-update-diff",
    "tdd-notification-data-update-id",
    "tdd-notification-data-delete-diff",
    "tdd-search-large-tdds",
    "sec-tdd-intro-no-observe",
    "priv-loc-priv-dir-access",
]
"""Those that concern a directory over HTTP, and are kept. Optional ones that are not: other representations and
languages (exploration-server-http-alternate-content and -language, tdd-http-representation-alternate-output,
tdd-http-error-response-lang), OAuth 2 redirection (exploration-secboot-oauth2-flows), SPARQL (tdd-search-sparql*). The
others concern CoAP, DNS-SD, CoRE-RD, DIDs, Thing Links, discoverers, or how a network is run."""

TESTED: set[str] = set()
Test = TypeVar("Test", bound=Callable[..., None])


def asserts(*names: str) -> Callable[[Test], Test]:
    """Says which assertions a test is of."""
    assert set(names) <= set(ASSERTIONS), set(names) - set(ASSERTIONS)
    TESTED.update(names)
    return lambda test: test


def test_every_assertion_has_its_test() -> None:
    assert set(ASSERTIONS) - TESTED == set()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A project without things, one that is granted some of them, and one that is granted nothing."""
    grant = f'[[grant]]\nfrom = "{PROJECT}"\nto = "friend"\nthings = ["Shown*"]\n'
    more = "".join(f'[[project]]\nname = "{name}"\n' for name in (PROJECT, "friend", "stranger")) + grant
    limits = {"snapshot_s": 0.2, "directory_page_max": 50, "search_answer_bytes_max": 20_000, "query_timeout_s": 4.0}
    limits |= {"description_bytes_max": 100_000, "descriptions_bytes_per_project_max": 300_000}
    node = LiveNode(tmp_path_factory.mktemp("discovery") / "site", ["fan"], limits, more=more)
    node.start()
    yield node
    node.stop()


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "live" in request.fixturenames:
        live: LiveNode = request.getfixturevalue("live")
        for document in ask(live, "GET", "/things").body:
            assert ask(live, "DELETE", path_of(document["id"])).status == 204


def description(identifier: str = "", title: str = "Lamp", **members: Any) -> dict[str, Any]:
    on = {"type": "boolean", "forms": [{"href": "http://lamp.example/on", "op": ["readproperty"]}]}
    document = {
        "@context": "https://www.w3.org/2022/wot/td/v1.1",
        "title": title,
        "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}},
        "security": "nosec_sc",
        "properties": {"on": on},
    }
    return ({"id": identifier} if identifier else {}) | document | members


def path_of(identifier: str) -> str:
    return f"/things/{quote(identifier, safe='')}"


def ask(
    live: LiveNode,
    method: str,
    path: str,
    body: Any = None,
    token: str | None = None,
    kind: str = "application/td+json",
) -> Answer:
    data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
    token = live.strangers[PROJECT] if token is None else token
    headers = {"Content_Type": kind} if data is not None else {}
    return live.ask(method, DIRECTORY + path, data, token, **headers)


def headers_of(live: LiveNode, method: str, path: str, token: str | None = None) -> http.client.HTTPMessage:
    connection = http.client.HTTPConnection("127.0.0.1", live.http_port, timeout=WAIT_S)
    token = live.strangers[PROJECT] if token is None else token
    connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert method != "HEAD" or body == b""
    answer.headers["status"] = str(answer.status)
    return answer.headers


def patch(live: LiveNode, identifier: str, body: Any, token: str | None = None) -> Answer:
    return ask(live, "PATCH", path_of(identifier), body, token, "application/merge-patch+json")


def searched(live: LiveNode, query: str, token: str | None = None) -> Answer:
    """The answer to a search, once the process that searches has started."""
    answers: list[Answer] = []

    def is_answered() -> bool:
        answers.append(ask(live, "GET", f"/search/jsonpath?query={quote(query)}", token=token))
        return answers[-1].status != 503

    wait_until(is_answered, "the search begins")
    return answers[-1]


def found(live: LiveNode, query: str, token: str | None = None) -> Any:
    answer = searched(live, query, token)
    assert answer.status == 200, answer
    return answer.body


def registered(live: LiveNode, identifier: str, **members: Any) -> dict[str, Any]:
    document = description(identifier, **members)
    answer = ask(live, "PUT", path_of(identifier), document)
    assert answer.status == 201, answer
    return document


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """What was registered, of what is shown."""
    contexts = [context for context in document["@context"] if context != DISCOVERY]
    own = {key: value for key, value in document.items() if key != "registration"}
    return own | {"@context": contexts[0] if len(contexts) == 1 else contexts}


# Introduction


@asserts(
    "introduction-direct-thing-description", "introduction-direct-directory-description", "introduction-well-known-uri",
    "introduction-well-known-path", "introduction-well-known-thing-description",
    "exploration-directory-description-type", "exploration-server-http-method", "exploration-server-http-resp",
    "exploration-server-http-resp-content-type", "exploration-server-http-resp-json", "sec-tdd-intro-no-observe",
)  # fmt: skip
@pytest.mark.parametrize("who", ["nobody", "project", "owner"])
def test_the_directory_is_found_at_the_well_known_address(live: LiveNode, who: str) -> None:
    owner = (live.site.data / "admin.token").read_text()
    token = {"nobody": "", "project": live.strangers[PROJECT], "owner": owner}[who]
    answer = live.ask("GET", "/.well-known/wot", token=token)
    assert answer.status == 200
    document = answer.body
    assert document["@type"] == "ThingDirectory"
    assert document["@context"] == ["https://www.w3.org/2022/wot/td/v1.1", DISCOVERY]
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)
    assert ("createThing" in document["actions"]) is (who == "project")
    assert (PROJECT in json.dumps(document)) is (who == "project"), "nobody learns the names of projects"
    assert headers_of(live, "GET", "/.well-known/wot", token)["content-type"] == "application/td+json"
    if who != "owner":
        href = document["properties"]["things"]["forms"][0]["href"].partition("{")[0]
        path = href.partition(str(live.http_port))[2]
        headers = headers_of(live, "GET", path, live.strangers[PROJECT])
        assert headers["status"] == ("200" if who == "project" else "307")


@asserts("exploration-secboot-401", "exploration-secboot-auth", "security-bootstrapping-endpoints")
def test_without_a_token_a_description_says_how_to_get_in(live: LiveNode) -> None:
    for path in (DIRECTORY, THINGS, f"{DIRECTORY}/events", f"{DIRECTORY}/search/jsonpath?query=$", f"{THINGS}/urn:x:1"):
        headers = headers_of(live, "GET", path, "")
        assert (headers["status"], headers["www-authenticate"]) == ("401", "Bearer"), path


@asserts("exploration-server-http-head", "tdd-http-head")
def test_head_gives_the_headers_alone(live: LiveNode) -> None:
    registered(live, "urn:example:1")
    assert found(live, "$[0].id") == ["urn:example:1"]
    paths = ["/.well-known/wot", DIRECTORY, THINGS, f"{THINGS}/urn:example:1", f"{DIRECTORY}/search/jsonpath?query=$"]
    for path in paths:
        head, get = headers_of(live, "HEAD", path), headers_of(live, "GET", path)
        assert head["status"] == "200", path
        assert head["content-type"] == get["content-type"]
    for path in (f"{DIRECTORY}/events", f"{DIRECTORY}/events/thing_created"):
        assert headers_of(live, "HEAD", path)["content-type"].startswith("text/event-stream")


# Create, retrieve, update, delete


@asserts(
    "tdd-things-create-known-td", "tdd-things-create-known-contenttype", "tdd-things-create-known-td-resp",
    "tdd-things-retrieve", "tdd-things-retrieve-resp", "tdd-things-retrieve-resp-content-type", "tdd-things-crud",
    "tdd-things-default-representation", "tdd-things-representation-alternate-input", "tdd-context-injection",
    "tdd-absolute-time", "tdd-registrationinfo-vocab-created", "tdd-registrationinfo-vocab-modified",
    "tdd-registrationinfo-vocab-retrieved",
)  # fmt: skip
@pytest.mark.parametrize("kind", ["application/td+json", "application/json", "application/ld+json; charset=utf-8"])
def test_a_known_description_is_put_and_retrieved(live: LiveNode, kind: str) -> None:
    identifier = "https://lamps.example/kitchen/1?a=b#c"
    document = description(identifier) | {"x:own": {"kept": [1, None]}}
    began = CLOCK.now_ns()
    assert ask(live, "PUT", path_of(identifier), document, kind=kind).status == 201
    answer = ask(live, "GET", path_of(identifier))
    assert plain(answer.body) == document
    assert answer.body["@context"][-1] == DISCOVERY
    times = {name: parse_iso(answer.body["registration"][name]) for name in ("created", "modified", "retrieved")}
    assert began <= times["created"] <= times["modified"] <= times["retrieved"] <= CLOCK.now_ns()
    assert headers_of(live, "GET", DIRECTORY + path_of(identifier))["content-type"] == "application/td+json"
    assert ask(live, "GET", path_of("urn:example:absent")).status == 404


@asserts(
    "tdd-things-create-anonymous-td", "tdd-things-create-anonymous-contenttype", "tdd-things-create-anonymous-id",
    "tdd-things-create-anonymous-td-resp", "tdd-anonymous-td-identifier", "tdd-anonymous-td-local-uuid",
    "tdd-things-create-known-vs-anonymous",
)  # fmt: skip
def test_an_anonymous_description_is_posted_and_gets_an_identifier(live: LiveNode) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", live.http_port, timeout=WAIT_S)
    headers = {"Authorization": f"Bearer {live.strangers[PROJECT]}", "Content-Type": "application/td+json"}
    connection.request("POST", THINGS, json.dumps(description()), headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201
    location = str(answer.headers["location"])
    connection.close()
    shown = live.ask("GET", location, token=live.strangers[PROJECT])
    identifier = shown.body["id"]
    assert UUID_URN.fullmatch(identifier)
    assert plain(shown.body) == description() | {"id": identifier}
    assert [each["id"] for each in ask(live, "GET", "/things").body] == [identifier]
    assert found(live, "$[*].id") == [identifier]
    assert ask(live, "POST", "/things", description("urn:example:1")).status == 400
    assert ask(live, "PUT", path_of("urn:example:1"), description()).status == 400
    assert ask(live, "PUT", path_of("urn:example:1"), description("urn:example:2")).status == 400


@asserts("tdd-things-update", "tdd-things-update-contenttype", "tdd-things-update-resp")
def test_a_description_is_replaced(live: LiveNode) -> None:
    registered(live, "urn:example:1", description="old")
    created = ask(live, "GET", path_of("urn:example:1")).body["registration"]["created"]
    answer = ask(live, "PUT", path_of("urn:example:1"), description("urn:example:1", "Torch"))
    assert (answer.status, answer.body) == (204, b"")
    shown = ask(live, "GET", path_of("urn:example:1")).body
    assert plain(shown) == description("urn:example:1", "Torch")
    assert shown["registration"]["created"] == created < shown["registration"]["modified"]


@asserts(
    "tdd-things-update-partial", "tdd-things-update-partial-mergepatch", "tdd-things-update-partial-contenttype",
    "tdd-things-update-partial-partialtd", "tdd-things-update-partial-resp",
)  # fmt: skip
def test_a_part_of_a_description_is_changed(live: LiveNode) -> None:
    document = registered(live, "urn:example:1", description="old", version={"instance": "1"})
    change = {
        "description": None,
        "title": "Torch",
        "properties": {"on": {"title": "On"}},
        "support": "https://x.example",
    }
    answer = patch(live, "urn:example:1", change)
    assert (answer.status, answer.body) == (204, b"")
    del document["description"]
    document |= {"title": "Torch", "support": "https://x.example"}
    document["properties"]["on"]["title"] = "On"
    assert plain(ask(live, "GET", path_of("urn:example:1")).body) == document
    assert ask(live, "PATCH", path_of("urn:example:1"), {"title": "x"}, kind="application/json").status == 415
    assert patch(live, "urn:example:1", {"title": None}).status == 400
    assert patch(live, "urn:example:1", {"id": "urn:example:2"}).status == 400
    assert patch(live, "urn:example:1", b"[1]").status == 400
    assert patch(live, "urn:example:absent", {"title": "x"}).status in (403, 404)
    assert plain(ask(live, "GET", path_of("urn:example:1")).body) == document, "what is refused changes nothing"


@asserts("tdd-things-delete", "tdd-things-delete-resp", "tdd-things-crudl")
def test_a_thing_is_taken_out_and_its_credentials_are_revoked(live: LiveNode) -> None:
    registered(live, "urn:example:1", title="Pump")
    operator = live.strangers[PROJECT]
    body = msgspec.json.encode({"project": PROJECT, "thing": "Pump"})
    token = live.ask("POST", "/api/v1/admin/token-issue", body, operator).body["token"]
    readings = f"/api/v1/projects/{PROJECT}/readings"
    assert live.ask("POST", readings, b'{"on": true}', token, Content_Type="application/json").status == 200
    path = f"/api/v1/projects/{PROJECT}/things/Pump"
    assert live.ask("GET", f"{path}/properties/on", token=operator).body is True
    with stream(live.http_port, f"{path}/observe", operator) as one:
        assert one.next().data is True
        answer = ask(live, "DELETE", path_of("urn:example:1"))
        assert (answer.status, answer.body) == (204, b"")
        assert (one.next().name, one.status) == ("$end", 200)
    assert live.ask("POST", readings, b'{"on": true}', token, Content_Type="application/json").status == 401
    assert ask(live, "GET", path_of("urn:example:1")).status == 404
    assert live.ask("GET", path, token=operator).status == 404
    names = [
        each["name"] for each in live.ask("GET", f"/api/v1/projects/{PROJECT}/things", token=operator).body["things"]
    ]
    assert names == []
    assert ask(live, "DELETE", path_of("urn:example:1")).status in (403, 404)


# Listing


@asserts(
    "tdd-things-list-only", "tdd-things-list-method", "tdd-things-list-resp", "tdd-things-list-resp-content-type",
    "tdd-things-list-pagination", "tdd-things-list-pagination-limit", "tdd-things-list-pagination-header-nextlink",
    "tdd-things-list-pagination-header-nextlink-attr", "tdd-things-list-pagination-header-nextlink-base",
    "tdd-things-list-pagination-header-canonicallink", "tdd-things-list-pagination-order-default",
)  # fmt: skip
def test_descriptions_are_listed_page_by_page(live: LiveNode) -> None:
    identifiers = [f"urn:example:{letter}" for letter in "bAZa\u00e9" if letter.isascii()] + [
        "tag:z",
        "https://a.example",
    ]
    for identifier in identifiers:
        registered(live, identifier)
    seen, path, etags = [], f"{THINGS}?limit=2", set()
    while path:
        headers = headers_of(live, "GET", path)
        assert headers["content-type"] == "application/ld+json"
        page = live.ask("GET", path, token=live.strangers[PROJECT]).body
        assert len(page) <= 2
        seen += [each["id"] for each in page]
        links = dict(re.findall(r'<([^>]+)>; rel="(\w+)"', headers["link"])[::-1])
        rel = {value: key for key, value in links.items()}
        assert rel["canonical"].endswith(THINGS)
        etags |= set(re.findall(r'rel="canonical"; etag="([^"]+)"', headers["link"]))
        following = rel.get("next", "")
        assert not following or "limit=2" in following
        path = following.partition(str(live.http_port))[2]
    assert seen == sorted(identifiers)
    assert len(etags) == 1
    registered(live, "urn:example:new")
    (etag,) = re.findall(r'etag="([^"]+)"', headers_of(live, "GET", THINGS)["link"])
    assert etag not in etags
    assert "next" not in headers_of(live, "GET", f"{THINGS}?offset=100")["link"]


@asserts("tdd-things-list-pagination-collection", "tdd-http-unsupported-feature")
def test_the_list_as_a_collection_and_what_is_not_there(live: LiveNode) -> None:
    for number in range(3):
        registered(live, f"urn:example:{number}")
    collection = ask(live, "GET", "/things?format=collection&limit=2").body
    assert (collection["@type"], collection["@context"], collection["total"]) == ("ThingCollection", DISCOVERY, 3)
    assert [each["id"] for each in collection["members"]] == ["urn:example:0", "urn:example:1"]
    rest = live.ask("GET", collection["next"].partition(str(live.http_port))[2], token=live.strangers[PROJECT]).body
    assert ([each["id"] for each in rest["members"]], "next" in rest) == (["urn:example:2"], False)
    for query in ("sort_by=title", "sort_order=desc", "format=table", "limit=0", "limit=x", "offset=-1"):
        assert ask(live, "GET", f"/things?{query}").status == 400, query
    assert ask(live, "PATCH", "/things", b"{}").status == 405
    for path in ("/search/sparql?query=x", "/search/xpath?query=x", "/events/thing_moved"):
        assert ask(live, "GET", path).status == 404, path


# Validation


@asserts(
    "tdd-validation-syntactic", "tdd-validation-jsonschema", "tdd-validation-result", "tdd-validation-response",
    "tdd-validation-response-utf-8", "tdd-http-error-response", "tdd-http-error-response-utf-8",
)  # fmt: skip
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": None}, "(root)"),
        ({"security": None}, "(root)"),
        ({"security": ["other"]}, "/security"),
        ({"properties": {"on": {"forms": []}}}, "/properties/on/forms"),
        ({"properties": {"on": {"forms": [{"href": 1}]}}}, "/properties/on/forms/0/href"),
        ({"properties": {"on": {"taihu:kind": "meter"}}}, "/properties/on/taihu:kind"),
        ({"@context": "https://example.org"}, "/@context"),
        ({"@type": "tm:ThingModel"}, "(root)"),
        ({"registration": {"ttl": -1}}, "/registration/ttl"),
        ({"registration": {"expires": "soon"}}, "/registration/expires"),
        ({"id": "no uri"}, "/id"),
        ({"title": "温度", "version": 1}, "/version"),
    ],
)
def test_what_is_no_description_is_refused_with_its_place(live: LiveNode, change: dict[str, Any], field: str) -> None:
    document = registered(live, "urn:example:1")
    merged = {key: value for key, value in (document | change).items() if value is not None}
    if "properties" in change:
        merged["properties"] = {"on": document["properties"]["on"] | change["properties"]["on"]}
    created = ask(live, "PUT", path_of("urn:example:2"), merged | {"id": change.get("id", "urn:example:2")})
    for answer in (created, patch(live, "urn:example:1", change)):
        assert answer.status == 400, answer
        (error,) = answer.body["validationErrors"]
        assert (error["field"], answer.body["status"]) == (field, 400)
        assert error["description"] and answer.body["title"]
    assert headers_of(live, "GET", f"{THINGS}/x")["content-type"] == "application/problem+json"
    assert [each["id"] for each in ask(live, "GET", "/things").body] == ["urn:example:1"]


def test_what_others_write_is_taken(live: LiveNode) -> None:
    """Version 1.0 too, and properties that Taihu has no use for: they are kept, and are none of its own (§2)."""
    forms = [{"href": "http://x.example/"}]
    odd = {
        "temperature": {"type": "number", "unit": "\u00b0C", "forms": forms},
        "speed": {"type": "number", "unit": "furlong/fortnight", "forms": forms},
        "untyped": {"forms": forms},
        "a/b": {"type": "number", "forms": forms},
        "exclusive": {"type": "number", "exclusiveMinimum": 0, "forms": forms},
    }
    document = description("urn:example:1", "Line 3 / press #2", properties=odd)
    document["@context"] = "https://www.w3.org/2019/wot/td/v1"
    assert ask(live, "PUT", path_of("urn:example:1"), document).status == 201
    assert plain(ask(live, "GET", path_of("urn:example:1")).body) == document
    own = live.ask(
        "GET", f"/api/v1/projects/{PROJECT}/things/Line 3 - press -2".replace(" ", "%20"), token=live.strangers[PROJECT]
    )
    assert own.status == 200, own
    properties = own.body["properties"]
    assert {name: each.get("unit") for name, each in properties.items()} == {"temperature": "Cel", "speed": None}
    assert own.body["id"] == "urn:example:1"


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{", b"[]", b"null", b"\xff", b'{"@context": "' + b"x" * 200_000 + b'"}', b"[" * 50_000,
        b'{"a":' * 40 + b"1" + b"}" * 40, b'{"x": [' + b"1," * 60_000 + b"1]}",
    ],
)  # fmt: skip
def test_any_bytes_are_refused_by_one_error(live: LiveNode, document: bytes) -> None:
    """§13: huge, deep, broken."""
    for method, path, kind in (
        ("POST", "/things", "application/td+json"),
        ("PUT", path_of("urn:example:1"), "application/td+json"),
    ):
        answer = ask(live, method, path, document, kind=kind)
        assert answer.status == 400 and answer.body["validationErrors"], answer
    assert ask(live, "POST", "/things", b"{}", kind="text/turtle").status == 415


def test_a_malicious_description_is_kept_as_data(live: LiveNode) -> None:
    """References lead nowhere, scripts are text, and what would be the prototype of an object is a name like others."""
    script = "<script>alert(1)</script>"
    document = description(
        "urn:example:1", script, schemaDefinitions={"a": {"$ref": "#/schemaDefinitions/a"}}, __proto__={"x": 1}
    )
    document["properties"]["on"] |= {"tm:ref": "http://evil.example/td.json#/properties/x", "title": script}
    document["links"] = [{"href": "file:///etc/passwd", "rel": "type"}]
    assert ask(live, "PUT", path_of("urn:example:1"), document).status == 201
    assert plain(ask(live, "GET", path_of("urn:example:1")).body) == document
    assert headers_of(live, "GET", f"{THINGS}/urn:example:1")["content-type"] == "application/td+json"
    names = [
        each["name"]
        for each in live.ask("GET", f"/api/v1/projects/{PROJECT}/things", token=live.strangers[PROJECT]).body["things"]
    ]
    assert names == ["<script>alert(1)<-script>"]


@pytest.mark.parametrize("identifier", ["urn:taihu:other:x", "urn:taihu:lamps:%6d", "x", "urn:example:" + "x" * 600])
def test_identifiers_that_cannot_be(live: LiveNode, identifier: str) -> None:
    answer = ask(live, "PUT", path_of(identifier), description(identifier))
    assert (answer.status, answer.body["validationErrors"][0]["field"]) == (400, "/id")


def test_descriptions_of_a_project_are_bounded(live: LiveNode) -> None:
    """§6"""
    for number in range(3):
        registered(live, f"urn:example:{number}", description="x" * 90_000)
    answer = ask(live, "PUT", path_of("urn:example:3"), description("urn:example:3", description="x" * 90_000))
    assert (answer.status, answer.body["type"]) == (429, "urn:taihu:problem:limit")
    assert ask(live, "DELETE", path_of("urn:example:0")).status == 204
    registered(live, "urn:example:3", description="x" * 90_000)


# Expiry


@asserts(
    "tdd-registrationinfo-vocab-expires", "tdd-registrationinfo-vocab-ttl", "tdd-registrationinfo-expiry-purge",
)  # fmt: skip
def test_a_registration_expires_and_is_extended(live: LiveNode) -> None:
    later = format_iso(CLOCK.now_ns() + 3_600 * NS_PER_S)
    registered(live, "urn:example:brief", registration={"ttl": 0.5})
    registered(live, "urn:example:ttl", registration={"ttl": 600, "expires": later})
    registered(live, "urn:example:expires", registration={"expires": later})
    shown = {each["id"]: each["registration"] for each in ask(live, "GET", "/things").body}
    assert shown["urn:example:expires"]["expires"] == later
    ttl = shown["urn:example:ttl"]
    assert ttl["ttl"] == 600
    assert abs(parse_iso(ttl["expires"]) - parse_iso(ttl["modified"]) - 600 * NS_PER_S) < NS_PER_S
    assert patch(live, "urn:example:ttl", {}).status == 204
    assert patch(live, "urn:example:expires", {"title": "x"}).status == 204
    again = {each["id"]: each["registration"] for each in ask(live, "GET", "/things").body}
    assert again["urn:example:ttl"]["expires"] > ttl["expires"]
    assert again["urn:example:expires"]["expires"] == later
    wait_until(lambda: ask(live, "GET", path_of("urn:example:brief")).status == 404, "it is purged")


# Events


@asserts(
    "tdd-notification", "tdd-notification-sse", "tdd-notification-event-types", "tdd-notification-data",
    "tdd-notification-data-td-id", "tdd-notification-data-create-full", "tdd-notification-data-update-diff",
    "tdd-notification-data-update-id", "tdd-notification-data-delete-diff",
)  # fmt: skip
@pytest.mark.parametrize("diff", [False, True])
def test_what_happens_is_told(live: LiveNode, diff: bool) -> None:
    query = "?diff=true" if diff else ""
    with stream(live.http_port, f"{DIRECTORY}/events{query}", live.strangers[PROJECT]) as one:
        document = registered(live, "urn:example:1", description="old")
        patch(live, "urn:example:1", {"title": "Torch", "description": None})
        ask(live, "DELETE", path_of("urn:example:1"))
        created, updated, deleted = one.take(3)
    assert [each.name for each in (created, updated, deleted)] == ["thing_created", "thing_updated", "thing_deleted"]
    assert deleted.data == {"id": "urn:example:1"}
    if diff:
        assert plain(created.data) == document and DISCOVERY in created.data["@context"]
        assert updated.data == {"id": "urn:example:1", "title": "Torch", "description": None}
    else:
        assert created.data == updated.data == {"id": "urn:example:1"}


@asserts("tdd-notification-filter-type", "tdd-notification-event-id")
def test_events_are_chosen_by_kind_and_missed_ones_delivered(live: LiveNode) -> None:
    token = live.strangers[PROJECT]
    with stream(live.http_port, f"{DIRECTORY}/events/thing_created", token) as one:
        registered(live, "urn:example:1")
        patch(live, "urn:example:1", {"title": "x"})
        registered(live, "urn:example:2")
        first, second = one.take(2)
        assert [each.data["id"] for each in (first, second)] == ["urn:example:1", "urn:example:2"]
    registered(live, "urn:example:3")
    with stream(live.http_port, f"{DIRECTORY}/events", token, Last_Event_ID=first.id) as one:
        told = [(each.name, each.data["id"]) for each in one.take(3)]
    assert told == [
        ("thing_updated", "urn:example:1"),
        ("thing_created", "urn:example:2"),
        ("thing_created", "urn:example:3"),
    ]
    with stream(live.http_port, f"{DIRECTORY}/events", token, Last_Event_ID="5") as one:
        event = one.next()
        assert (event.name, event.data) == ("$missed", {"count": None}), "what was before the start nobody knows"
    ticket = live.ask("POST", "/api/v1/tickets", b"", token).body["ticket"]
    with stream(live.http_port, f"{DIRECTORY}/events/thing_deleted?ticket={ticket}") as one:
        ask(live, "DELETE", path_of("urn:example:3"))
        assert one.next().data == {"id": "urn:example:3"}
    assert ask(live, "GET", "/events?diff=perhaps").status == 400


# Search


@asserts("tdd-search-large-tdds")
def test_jsonpath_finds_descriptions_and_parts_of_them(live: LiveNode) -> None:
    for number, title in enumerate(["Kitchen", "Hall", "Attic"]):
        registered(live, f"urn:example:{number}", title=title, floor=number)
    assert [each["title"] for each in found(live, "$")[0]] == ["Kitchen", "Hall", "Attic"]
    assert [each["id"] for each in found(live, "$[?@.title=='Hall']")] == ["urn:example:1"]
    assert found(live, "$[?@.floor>0].title") == ["Hall", "Attic"]
    assert found(live, "$[-1:].title") == ["Attic"]
    assert found(live, "$[1, 0, -1, 1, 7, 5:, ::-2].title") == ["Hall", "Kitchen", "Attic", "Hall", "Attic", "Kitchen"]
    assert found(live, "$[::0]") == found(live, "$[9]") == []
    assert [each["title"] for each in found(live, "$[:2]")] == ["Kitchen", "Hall"]
    assert found(live, "$[2, 'x'].title") == ["Attic"]
    assert found(live, "$[?match(@.title, '[HK].*')].floor") == [0, 1]
    assert found(live, "$[?@.floor == $[2].floor].title") == ["Attic"]
    assert set(found(live, "$..forms[0].href")) == {"http://lamp.example/on"}
    assert found(live, "$[?@.none]") == []
    assert headers_of(live, "GET", f"{DIRECTORY}/search/jsonpath?query=$")["content-type"] == "application/json"


@pytest.mark.parametrize(
    "query", ["", "title", "$[", "$[?(", "$[?@.a==]", "$" + "[0" * 400, "$[?" + "(" * 900, "x" * 2_000]
)
def test_what_is_no_query_is_told(live: LiveNode, query: str) -> None:
    answer = searched(live, query)
    assert answer.status == 400 and answer.body["title"], answer


def test_a_search_is_bounded_and_the_next_one_is_answered(live: LiveNode) -> None:
    """§6: in time (patterns that never end, ever deeper descent) and in size; nothing else waits for it."""
    registered(live, "urn:example:1", title="a" * 60 + "!")
    registered(live, "urn:example:2", deep={"a": [[[[{"b": [1] * 30}] * 4] * 4] * 4] * 4})
    answer = searched(live, "$..*..*")
    assert (answer.status, answer.body["type"]) == (429, "urn:taihu:problem:search-stopped")
    answer = searched(live, "$[?match(@.title, '(a|aa)+')]")
    assert (answer.status, answer.body["type"]) == (429, "urn:taihu:problem:search-stopped"), answer
    assert found(live, "$[0].id") == ["urn:example:1"]


# Rights


@asserts("tdd-things-read-only-auth", "priv-loc-priv-dir-access")
def test_who_may_not_neither_lists_searches_watches_nor_changes(live: LiveNode) -> None:
    """§11"""
    registered(live, "urn:example:1", title="Shown")
    registered(live, "urn:example:2", title="Hidden")
    stranger, friend = live.strangers["stranger"], live.strangers["friend"]
    body = msgspec.json.encode({"project": PROJECT, "kind": "viewer"})
    viewer = live.ask("POST", "/api/v1/admin/token-issue", body, live.strangers[PROJECT]).body["token"]
    for path in ("", "/things", path_of("urn:example:1"), "/search/jsonpath?query=$", "/events"):
        assert ask(live, "GET", path, token=stranger).status == 404, path
    assert [each["id"] for each in ask(live, "GET", "/things", token=friend).body] == ["urn:example:1"]
    assert ask(live, "GET", "/things?format=collection", token=friend).body["total"] == 1
    assert found(live, "$[*].title", friend) == ["Shown"]
    assert found(live, "$[:9].title", friend) == found(live, "$[0].title", friend) == ["Shown"]
    assert found(live, "$..title", friend) == ["Shown"]
    assert ask(live, "GET", path_of("urn:example:2"), token=friend).status == 404
    with stream(live.http_port, f"{DIRECTORY}/events?diff=true", friend) as one:
        patch(live, "urn:example:2", {"title": "Still hidden"})
        patch(live, "urn:example:1", {"support": "x"})
        assert one.next().data["id"] == "urn:example:1"
    for token, status in ((friend, 403), (viewer, 403), (stranger, 404)):
        assert ask(live, "POST", "/things", description(), token).status == status
        assert ask(live, "PUT", path_of("urn:example:3"), description("urn:example:3"), token).status == status
        assert ask(live, "PUT", path_of("urn:example:1"), description("urn:example:1"), token).status == status
        assert patch(live, "urn:example:1", {"title": "x"}, token).status == status
        assert ask(live, "DELETE", path_of("urn:example:1"), token=token).status == status
    assert "createThing" not in ask(live, "GET", "", token=viewer).body["actions"]
    assert found(live, "$[*].title", viewer) == ["Shown", "Still hidden"]


def test_a_thing_changes_its_own_description_alone(live: LiveNode) -> None:
    """§11"""
    registered(live, "urn:example:1", title="Pump")
    registered(live, "urn:example:2", title="Fan")
    body = msgspec.json.encode({"project": PROJECT, "thing": "Pump"})
    token = live.ask("POST", "/api/v1/admin/token-issue", body, live.strangers[PROJECT]).body["token"]
    assert patch(live, "urn:example:1", {"title": "Pump 1"}, token).status == 204
    assert [each["title"] for each in ask(live, "GET", "/things", token=token).body] == ["Pump 1"]
    assert patch(live, "urn:example:2", {"title": "x"}, token).status in (403, 404)
    assert ask(live, "DELETE", path_of("urn:example:1"), token=token).status == 403
    assert ask(live, "PUT", path_of("urn:example:3"), description("urn:example:3"), token).status == 403


# Things that Taihu describes itself


def test_things_made_elsewhere_are_in_the_directory_and_are_changed_as_far_as_they_can_say_it(live: LiveNode) -> None:
    operator = live.strangers[PROJECT]
    body = {"project": PROJECT, "name": "meter 1", "properties": {"power": {"name": "power", "unit": "kW"}}}
    assert live.ask("POST", "/api/v1/admin/thing-create", msgspec.json.encode(body), operator).status == 200
    identifier = f"urn:taihu:{PROJECT}:meter%201"
    (shown,) = ask(live, "GET", "/things").body
    assert shown["id"] == identifier
    assert found(live, "$[*]['taihu:name']") == ["meter 1"]
    shown["title"], shown["taihu:site"] = "Main meter", "plant"
    assert ask(live, "PUT", path_of(identifier), shown).status == 204
    assert patch(live, identifier, {"properties": {"power": {"maximum": 10}}}).status == 204
    again = ask(live, "GET", path_of(identifier)).body
    assert (again["title"], again["taihu:site"]) == ("Main meter", "plant")
    assert again["properties"]["power"]["maximum"] == 10
    lost = patch(live, identifier, {"properties": {"power": {"x:colour": "red"}}})
    assert (lost.status, lost.body["validationErrors"][0]["field"]) == (400, "/properties/power/x:colour")
    new = f"urn:taihu:{PROJECT}:meter%202"
    copy = again | {"id": new, "taihu:name": "meter 2"}
    assert ask(live, "PUT", path_of(new), copy).status == 201
    assert ask(live, "GET", path_of(new)).body["properties"]["power"]["unit"] == "kW"


def test_streams_end_with_a_reason_when_the_node_stops(tmp_path: Any) -> None:
    """And the node does not wait for who is connected."""
    node = LiveNode(tmp_path / "site", ["pump"])
    node.start()
    streams = [
        Stream(node.http_port, path, node.viewer)
        for path in ("/api/v1/projects/plant/things/pump/observe", "/api/v1/projects/plant/directory/events")
    ]
    assert [one.status for one in streams] == [200, 200]
    node.stop()
    for one in streams:
        event = one.next()
        assert (event.name, event.data) == ("$end", {"reason": "the node stops"})
        one.close()
    assert node.log_lines("ingest", "timeout graceful shutdown exceeded|Traceback") == []
