"""A CoAP device that knows OSCORE, made with OpenWSN's library: `python openwsn.py PORT SECRET SALT FOLDER`.

It serves on ::1, and prints `ready`; `/temperature` wants protection, `/open` none.
"""

import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any


def main() -> None:
    from coap import coap, coapDefines, coapObjectSecurity, coapOption, coapResource

    port, secret, salt, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])

    class Held(coapResource.coapResource):  # type: ignore[misc]
        def __init__(self, path: str, value: Any) -> None:
            super().__init__(path)
            self.value = value

        def GET(self, options: Any = ()) -> Any:
            form = coapOption.ContentFormat(cformat=[coapDefines.FORMAT_JSON])
            return coapDefines.COAP_RC_2_05_CONTENT, [form], list(json.dumps(self.value).encode())

        def PUT(self, options: Any = (), payload: Any = b"") -> Any:
            self.value = json.loads(bytes(payload))
            return coapDefines.COAP_RC_2_04_CHANGED, [], []

    settings = {
        "aeadAlgorithm": "AES_CCM_16_64_128", "hashFunction": "sha256", "masterSecret": secret, "masterSalt": salt,
        "senderID": "01", "recipientID": "", "sequenceNumber": 0, "replayWindow": [-1],
    }  # fmt: skip
    path = folder / "context.json"
    path.write_text(json.dumps(settings))
    server = coap.coap(ipAddress="::1", udpPort=port)
    protected = Held("temperature", 21.5)
    context = coapObjectSecurity.SecurityContext(securityContextFilePath=str(path))
    protected.addSecurityBinding((context, [coapDefines.METHOD_GET, coapDefines.METHOD_PUT]))
    server.addResource(protected)
    server.addResource(Held("open", 1))
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main()
