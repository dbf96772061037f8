"""A CoAP device for the tests, in a process of its own: aiocoap. `python peer.py PORT [SECRET_HEX]`.

With a secret, and a folder to keep its numbers in, all but `/open` wants OSCORE.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

CONTEXT = "https://www.w3.org/2022/wot/td/v1.1"


async def main() -> None:
    from aiocoap import CHANGED, CONTENT, Context, Message
    from aiocoap.error import BadRequest, Unauthorized
    from aiocoap.oscore import FilesystemSecurityContext
    from aiocoap.oscore_sitewrapper import OscoreSiteWrapper
    from aiocoap.resource import ObservableResource, Resource, Site, WKCResource

    port, (secret, folder) = int(sys.argv[1]), sys.argv[2:] or ("", "")

    class Fixed(Resource):  # type: ignore[misc]
        def __init__(self, value: Any, content: int) -> None:
            super().__init__()
            self.ct = content
            self._answer = (json.dumps(value) if content else str(value)).encode()

        async def render_get(self, request: Any) -> Any:
            if secret and not getattr(request.remote, "security_context", None):
                raise Unauthorized
            return Message(code=CONTENT, payload=self._answer, content_format=self.ct)

    class Setpoint(ObservableResource):  # type: ignore[misc]
        ct = 50

        def __init__(self) -> None:
            super().__init__()
            self.value = 20.0

        async def render_get(self, request: Any) -> Any:
            return Message(code=CONTENT, payload=json.dumps(self.value).encode(), content_format=50)

        async def render_put(self, request: Any) -> Any:
            value = json.loads(request.payload)
            if not isinstance(value, int | float):
                raise BadRequest("a number, please")
            self.value = value
            self.updated_state()
            return Message(code=CHANGED)

    class Reset(Resource):  # type: ignore[misc]
        async def render_post(self, request: Any) -> Any:
            return Message(code=CHANGED, payload=json.dumps({"was": setpoint.value}).encode(), content_format=50)

    def form(href: str, *ops: str, **more: str) -> dict[str, Any]:
        return {"href": href, "op": list(ops), **more}

    description = {
        "@context": [CONTEXT], "title": "boiler", "base": f"coap://127.0.0.1:{port}/",
        "securityDefinitions": {"nosec": {"scheme": "nosec"}}, "security": "nosec",
        "properties": {
            "setpoint": {"type": "number", "unit": "Cel", "readOnly": False, "forms": [
                form("setpoint", "readproperty", "writeproperty"),
                form("setpoint", "observeproperty", subprotocol="cov:observe")]},
            "temperature": {"type": "number", "unit": "Cel", "forms": [
                {**form("temperature", "readproperty"), "cov:method": "GET"}]},
        },
        "actions": {"reset": {"forms": [form("reset", "invokeaction")]}},
    }  # fmt: skip
    setpoint = Setpoint()
    site = Site()
    site.add_resource([".well-known", "core"], WKCResource(site.get_resources_as_linkheader))
    site.add_resource(["temperature"], Fixed(21.5, 0))
    site.add_resource(["status"], Fixed({"pump": {"running": True, "name": "p-7"}, "list": [1, 2.5]}, 50))
    site.add_resource(["large"], Fixed({f"v{number}": number for number in range(900)}, 50))
    site.add_resource(["setpoint"], setpoint)
    site.add_resource(["reset"], Reset())
    site.add_resource(["td"], Fixed(description, 432))
    context = await Context.create_server_context(None, bind=("127.0.0.1", port))
    if secret:
        settings = {"sender-id_hex": "01", "recipient-id_hex": "", "secret_hex": secret, "salt_hex": "9e7ca92223786340"}
        (Path(folder) / "settings.json").write_text(json.dumps(settings))
        context.server_credentials[":client"] = FilesystemSecurityContext(folder)
    context.serversite = OscoreSiteWrapper(site, context.server_credentials)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
