"""A small OpenID provider that can be told to do wrong; its signatures and code challenges are authlib's own."""

import hmac
import threading
from base64 import urlsafe_b64encode
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from taihu.kernel.clock import NS_PER_S, Clock, SystemClock
from taihu.kernel.ids import new_token

CLIENT, SECRET = "taihu", "the client's own secret"


class FakeProvider:
    """Answers one client. `claims` are of who signs in; `spoil` changes an ID token's claims or header."""

    def __init__(self) -> None:
        self.key = _key("first")
        self.clock: Clock = SystemClock()
        self.claims: dict[str, Any] = {
            "sub": "1001",
            "preferred_username": "Mei",
            "name": "Mei Lin",
            "groups": ["staff"],
        }
        self.userinfo: dict[str, Any] = {}
        self.spoil: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.published: list[Any] = [self.key]
        self.refused: set[str] = set()
        self.about: dict[str, Any] = {}
        self.asked: list[str] = []
        self.id_token_on_refresh = True
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def sign_in(self, url: str) -> dict[str, str]:
        """What a browser brings back that was sent to `url`, once its owner has signed in."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = new_token()
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on; the old one is published no more."""
        self.key = _key(kid)
        self.published = [self.key]

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] in self.refused:
                return 400, {"error": "invalid_grant"}
            tokens = {"access_token": new_token(), "token_type": "Bearer", "refresh_token": "again"}
            return 200, tokens | ({"id_token": self._id_token("")} if self.id_token_on_refresh else {})
        asked = self._codes.pop(form["code"], None)  # good for one
        if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if create_s256_code_challenge(form["code_verifier"]) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        tokens = {"access_token": new_token(), "token_type": "Bearer", "refresh_token": "refresh-1"}
        return 200, tokens | {"id_token": self._id_token(asked["nonce"])}

    def _id_token(self, nonce: str) -> str:
        now = self.clock.now_ns() // NS_PER_S
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, **self.claims}
        claims |= {"nonce": nonce} if nonce else {}
        claims = {name: value for name, value in (claims | self.spoil).items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid} | self.header
        if header["alg"] in ("none", "HS256"):  # no library makes these
            return _forged(header, claims, self.key.as_pem(private=False))
        return jwt.encode(header, claims, self.key)

    def _answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize?kind=login",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "end_session_endpoint": f"{self.issuer}/logout",
            } | self.about
        if path == "/keys":
            return 200, KeySet(self.published).as_dict(private=False)
        if path == "/token":
            return self._token(form)
        return (200, self.userinfo) if path == "/userinfo" else (404, {})

    def _handler(provider: "FakeProvider") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(provider._answer(urlsplit(self.path).path, {}))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                form["authorization"] = self.headers.get("Authorization", "")
                self._send(provider._answer(urlsplit(self.path).path, form))

            def log_message(self, *args: object) -> None:
                """Quiet."""

            def _send(self, answer: tuple[int, Any]) -> None:
                data = answer[1] if isinstance(answer[1], bytes) else msgspec.json.encode(answer[1])
                self.send_response(answer[0])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler


@cache
def _key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def _forged(header: dict[str, Any], claims: dict[str, Any], public_key: bytes) -> str:
    """A token without a signature, or signed with what everybody may read."""
    parts = [urlsafe_b64encode(msgspec.json.encode(part)).rstrip(b"=") for part in (header, claims)]
    signature = b"" if header["alg"] == "none" else hmac.digest(public_key, b".".join(parts), "sha256")
    return b".".join([*parts, urlsafe_b64encode(signature).rstrip(b"=")]).decode()
