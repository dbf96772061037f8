"""Content encodings of HTTP bodies: gzip, deflate and zstd, both ways, never more in memory than asked for (§6)."""

import sys
import zlib
from typing import Protocol

from taihu.doors.http.answers import Problem, bad_request

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP, _ZLIB = 31, 15  # zlib's numbers for what surrounds the stream
_ZSTD_WINDOW_LOG_MAX = 23  # 8 MB, which every encoder keeps to unless told otherwise
_GZIP_LEVEL, _ZSTD_LEVEL = 1, 1  # it is the node's own time


class Unpacker(Protocol):
    """Makes a body of its encoded parts."""

    def feed(self, data: bytes, most: int) -> bytes:
        """The next decoded bytes, at most `most` of them; whoever gets so many is at his limit."""
        ...

    def finish(self) -> None:
        """There is nothing more to come; raises Problem when something is missing."""
        ...


def unpacker(encoding: str) -> Unpacker | None:
    """What decodes a body of this Content-Encoding, None when there is nothing to decode; raises Problem (415)."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Zlib(_GZIP)
        case "deflate":
            return _Zlib(_ZLIB)
        case "zstd":
            return _Zstd()
    raise Problem(415, "content-encoding", f"{encoding[:40]!r} is not decoded here.", "Send gzip, deflate or zstd.")


class _Zlib:
    def __init__(self, window: int) -> None:
        self._decoder = zlib.decompressobj(window)

    def feed(self, data: bytes, most: int) -> bytes:
        try:
            decoded = self._decoder.decompress(data, most)
        except zlib.error as error:
            raise _damaged(str(error)) from None
        if self._decoder.unused_data:
            raise _damaged("bytes follow its end")
        return decoded

    def finish(self) -> None:
        if not self._decoder.eof:
            raise _damaged("its end is missing")


class _Zstd:
    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG_MAX}
        self._decoder = zstd.ZstdDecompressor(options=options)

    def feed(self, data: bytes, most: int) -> bytes:
        try:
            decoded = self._decoder.decompress(data, most)
        except (zstd.ZstdError, EOFError) as error:
            raise _damaged(str(error)) from None
        if self._decoder.unused_data:
            raise _damaged("bytes follow its end")
        return decoded

    def finish(self) -> None:
        if not self._decoder.eof:
            raise _damaged("its end is missing")


def _damaged(why: str) -> Problem:
    return bad_request(f"The body's content encoding is damaged: {why[:120]}.", "Encode the body as the header says.")


class Packer(Protocol):
    """Encodes an answer, part by part."""

    def compress(self, data: bytes, /) -> bytes:
        """The next encoded bytes, which may be none yet."""
        ...

    def flush(self) -> bytes:
        """What is still held back, and the end."""
        ...


def packer(encoding: str) -> Packer:
    """Encodes an answer as `gzip` or `zstd`."""
    if encoding == "gzip":
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return zstd.ZstdCompressor(level=_ZSTD_LEVEL)


def chosen_encoding(accepted: str) -> str:
    """What to encode an answer with for an Accept-Encoding, empty for nothing; zstd where both are as welcome.

    >>> chosen_encoding("gzip, deflate, br, zstd"), chosen_encoding("gzip;q=0.5, zstd;q=0"), chosen_encoding("br")
    ('zstd', 'gzip', '')
    """
    welcome: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        try:
            welcome[name.strip()] = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
    rest = welcome.get("*", 0.0)
    best = max(("gzip", "zstd"), key=lambda name: (welcome.get(name, rest), name == "zstd"))
    return best if welcome.get(best, rest) > 0 else ""
