"""Enrolment over Secure Transport (RFC 7030): a device fetches its certificate, and renews it by the one it has.

Handled: `cacerts`, `simpleenroll` with an enrolment token, `simplereenroll` with the present certificate. Not handled:
labels, `fullcmc`, `serverkeygen` and `csrattrs`.
"""

import base64

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import Problem, unauthorized
from taihu.doors.http.connection import CERTIFICATE
from taihu.doors.http.endpoint import Endpoint, Operation
from taihu.doors.http.requests import body_of, node_of, password_of, token_of
from taihu.identity.presented import Presented

_CHAIN = "application/pkcs7-mime"
_REQUEST = "application/pkcs10"
_LIST = "application/pkix-crl"
_LINE = 76


async def authorities(request: Request) -> Response:
    """The authority's certificate, as PKCS #7 in base64."""
    return _chain(await run_in_threadpool(node_of(request).authority_chain), "")


async def enrol(request: Request) -> Response:
    """A thing's first certificate, for a PKCS #10 request and an enrolment token."""
    token = password_of(request) or token_of(_secure(request))
    if not token or isinstance(token, Presented):
        raise unauthorized()
    async with body_of(request) as body:
        return _chain(await run_in_threadpool(node_of(request).enrol, token, body))


async def renew(request: Request) -> Response:
    """A new certificate for the thing whose present one came with the connection."""
    certificate = _secure(request).scope.get(CERTIFICATE)
    if certificate is None:
        raise Problem(401, "unauthorized", "Renewal needs the present certificate.", "Connect with it and its key.")
    async with body_of(request) as body:
        return _chain(await run_in_threadpool(node_of(request).renew_certificate, certificate, body))


async def revoked(request: Request) -> Response:
    """The list of revoked certificates, in DER (RFC 5280)."""
    return Response(await run_in_threadpool(node_of(request).revocation_list), media_type=_LIST)


def _secure(request: Request) -> Request:
    if request.url.scheme != "https":
        raise Problem(
            403, "tls-required", "Certificates are issued over TLS alone.", "Use the port of [http] tls_port."
        )
    return request


def _chain(der: bytes, smime_type: str = "; smime-type=certs-only") -> Response:
    text = base64.b64encode(der)
    lines = b"".join(text[place : place + _LINE] + b"\n" for place in range(0, len(text), _LINE))
    headers = {"Content-Type": _CHAIN + smime_type, "Content-Transfer-Encoding": "base64"}
    return Response(lines, headers=headers)


_SIGNED = Operation(body={_REQUEST: bytes}, answer={_CHAIN: bytes}, refuses=(400, 403, 503))
ROUTES = [
    Endpoint(
        "/.well-known/est/cacerts", authorities, get=Operation(answer={_CHAIN: bytes}, refuses=(503,), public=True)
    ),
    Endpoint("/.well-known/est/simpleenroll", enrol, post=_SIGNED),
    Endpoint("/.well-known/est/simplereenroll", renew, post=_SIGNED),
    Endpoint("/api/v1/ca/revoked", revoked, get=Operation(answer={_LIST: bytes}, refuses=(503,), public=True)),
]
