"""What is at a CoAP address: a Thing Description, one resource, or what `/.well-known/core` lists (RFC 6690)."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from taihu.drivers import described
from taihu.drivers.coap.client import LINKS, CoapClient, document_of, refuse
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan, Point, ThingPlan
from taihu.drivers.resources import leaves, pointer_of
from taihu.kernel.errors import TaihuError
from taihu.kernel.limits import Limits
from taihu.things.infer import infer_property

CORE = "/.well-known/core"
_RESOURCES_MAX = 200
_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[^;,=\"]+(?:=(?:\"(?:[^\"\\]|\\.)*\"|[^;,\"]*))?)*)")
_ATTRIBUTE = re.compile(r"([^;=\s]+)(?:=(?:\"((?:[^\"\\]|\\.)*)\"|([^;,\"]*)))?")
_DESCRIPTION = "432"


def links_of(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The targets of link-format and their attributes; one without a value is empty."""
    for href, attributes in _LINK.findall(text):
        yield href, {name: quoted or plain for name, quoted, plain in _ATTRIBUTE.findall(attributes)}


async def find(client: CoapClient, connection: Connection, limits: Limits) -> Plan:
    """The things at a connection's address; DeviceRefused when nothing there is understood."""
    parts = connection.parts
    path = (parts.path if parts.path != "/" else "") + (f"?{parts.query}" if parts.query else "")
    answer = await client.ask("GET", client.target_of(path or CORE) or CORE)
    refuse(answer, path or CORE)
    if answer.opt.content_format is None or int(answer.opt.content_format) != LINKS:
        document = document_of(answer)
        if described.is_description(document):
            return described.plan_of(document, path, client.target_of, limits)
        return _joined(connection.name, [(path, {"obs": ""}, document)], limits)
    found = []
    listed = list(links_of(answer.payload.decode("utf-8", "replace")))
    for href, attributes in listed[:_RESOURCES_MAX]:
        target = client.target_of(href, path or CORE)
        if target is None or target.startswith("/.well-known/"):
            continue
        answer = await client.ask("GET", target)
        if not answer.code.is_successful():
            continue
        try:
            document = document_of(answer)
        except DeviceLost:
            continue
        if described.is_description(document) or _DESCRIPTION in attributes.get("ct", "").split():
            return described.plan_of(document, target, client.target_of, limits)
        found.append((target, attributes, document))
    return _joined(connection.name, found, limits)


def _joined(name: str, resources: list[tuple[str, dict[str, str], Any]], limits: Limits) -> Plan:
    """One thing of the leaves of all resources, each named by its way; its title by its link's."""
    points: dict[str, Point] = {}
    notes = ["Units are undeclared: write those you know into the connection's file."]
    for target, attributes, document in resources:
        for path, value in leaves(document):
            label = ".".join((*filter(None, target.partition("?")[0].split("/")), *path)) or "value"
            try:
                definition = infer_property(label, value)
            except TaihuError as error:
                notes.append(str(error))
                continue
            if definition is None or label in points or len(points) >= limits.properties_per_thing_max:
                continue
            where = {"observe" if "obs" in attributes else "href": target}
            definition = msgspec.structs.replace(definition, title=attributes.get("title", "")[:128])
            points[label] = Point(definition=definition, where=where | ({"pointer": pointer_of(path)} if path else {}))
    if not points:
        raise DeviceRefused("Nothing that can be read is there.", "Give the path of a resource.")
    return Plan(things=(ThingPlan(name=name, points=tuple(points.values())),), notes=tuple(notes[:100]))
