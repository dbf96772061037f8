"""Searches over Thing Descriptions in a process of their own, which can be killed: JSONPath as RFC 9535 has it.

A query decides how long it takes and how much it holds, and a pattern in it may never end. So it runs where nothing
else does: with bounded memory, and with a deadline after which the process is killed; the next search starts another.
"""

import asyncio
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from taihu.identity.descriptions import Registered
from taihu.identity.directory import Directory
from taihu.kernel.clock import Clock, SystemClock
from taihu.kernel.errors import LimitError, RemoteError, TaihuError, TransientError
from taihu.kernel.limits import Limits
from taihu.runtime.serving.heads import picks_by_heads, reads_heads
from taihu.things.description import build_description, heading, part_of
from taihu.things.document import Json
from taihu.things.property import Thing
from taihu.things.registration import enrich, registration_of

_IDLE_S = 60.0
_WAITING_MAX = 8
_DOCUMENTS_AT_ONCE = 500
_PATIENCE = 0.8  # of query_timeout_s: whoever asks hears that it took too long before he gives up
_FRAME_BYTES_MAX = 1 << 30
_READY = b"ready"
_encode = msgspec.json.Encoder(enc_hook=str).encode


class QueryInvalid(RemoteError):
    """A query that is no JSONPath expression: the message says where."""

    code = "jsonpath"


class SearchStopped(LimitError):
    """A search took longer, held or found more than it may: ask for less."""

    code = "search-stopped"


class SearchBusy(TransientError):
    """As many searches wait as may: try again in a moment."""

    code = "search-busy"


class Search(msgspec.Struct):
    """What is asked: `visible` are the things to look at, with the properties of a part; None for all."""

    project: str
    query: str
    base: str
    mqtt: str
    now_ns: int
    answer_bytes_max: int
    visible: dict[str, list[str] | None] | None = None


class Answer(msgspec.Struct, array_like=True):
    """What was found as a JSON array, or the code of an error with its message and remedy."""

    found: bytes = b""
    error: str = ""
    message: str = ""
    remedy: str = ""


class Searcher:
    """The process as its parent sees it: started by the first search, ended when nobody searches for a while."""

    def __init__(self, metadata: Path, limits: Limits) -> None:
        self._metadata = metadata
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._ready: asyncio.Future[bytes] | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._idle: asyncio.TimerHandle | None = None

    async def answer(self, body: Mapping[str, Any]) -> bytes:
        """The JSON array of what a search finds. Raises QueryInvalid, SearchStopped and SearchBusy."""
        if self._waiting >= _WAITING_MAX:
            raise SearchBusy(f"{self._waiting} searches wait.", "Try again in a moment.")
        search = msgspec.convert({**body, "answer_bytes_max": self._limits.search_answer_bytes_max}, Search)
        if len(search.query) > self._limits.search_query_length_max:
            limit = self._limits.search_query_length_max
            raise QueryInvalid(f"The query is longer than {limit} characters.", "Write a shorter one.")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._limits.query_timeout_s * _PATIENCE), self._turn:
                return _result(await self._ask(search))
        except TimeoutError:
            if self._ready is None or not self._ready.done():
                raise SearchBusy("The search has not begun yet.", "Try again in a moment.") from None
            self.close()
            raise SearchStopped("The search took too long.", "Ask for less, or for one thing by its id.") from None
        except asyncio.IncompleteReadError:
            self.close()
            raise SearchStopped("The search held more than it may.", "Ask for less at once.") from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Kill the process if there is one."""
        process, self._process, self._ready = self._process, None, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()

    async def _ask(self, search: Search) -> Answer:
        process = await self._running()
        assert process.stdin is not None and process.stdout is not None and self._ready is not None
        await asyncio.shield(self._ready)
        data = msgspec.msgpack.encode(search)
        with suppress(ConnectionError):
            process.stdin.write(len(data).to_bytes(4, "little") + data)
            await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(4), "little")
        answer = msgspec.msgpack.decode(await process.stdout.readexactly(size), type=Answer)
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self.close)
        return answer

    async def _running(self) -> asyncio.subprocess.Process:
        """The process, which may still have to say that it is ready."""
        if self._idle is not None:
            self._idle.cancel()
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "taihu.runtime.serving.searcher", str(self._metadata)),
                str(self._limits.search_memory_bytes_max),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_FRAME_BYTES_MAX,
            )
            assert self._process.stdout is not None
            self._ready = asyncio.ensure_future(self._process.stdout.readexactly(len(_READY)))
        return self._process


def _result(answer: Answer) -> bytes:
    if answer.error:
        known = next((one for one in (QueryInvalid, SearchStopped) if one.code == answer.error), TransientError)
        raise known(answer.message, answer.remedy)
    return answer.found


# What follows runs in the process itself.

Maker = Callable[[Directory, Search, Thing, Registered | None], Json]
"""Makes a description, or part of one, of a thing and what was registered of it."""


def find(directory: Directory, search: Search) -> bytes:
    """The JSON array of what a query finds. Raises QueryInvalid and SearchStopped."""
    from jsonpath_rfc9535 import JSONPathEnvironment
    from jsonpath_rfc9535.exceptions import JSONPathError

    try:
        query = JSONPathEnvironment().compile(search.query)
        parts: list[bytes] = []
        size = 2
        query, ids = _narrowed(query, _visible_ids(directory, search))
        make = _document
        if _goes_one_by_one(query):
            query, ids = _picked(directory, search, query, ids)
            make = _head if reads_heads(query) else _document
        documents = (document for _, document in _documents(directory, search, ids, make))
        roots = ([document] for document in documents) if _goes_one_by_one(query) else iter([list(documents)])
        for root in roots:
            for node in query.finditer(root):
                parts.append(_encode(node.value))
                size += len(parts[-1]) + 1
                if size > search.answer_bytes_max:
                    raise SearchStopped(f"It finds more than {search.answer_bytes_max} bytes.", "Ask for less.")
    except JSONPathError as error:
        raise QueryInvalid(
            f"This is no JSONPath expression: {error}.", "Write one such as $[?@.title=='Lamp']."
        ) from None
    except RecursionError:
        raise QueryInvalid("The query is nested too deeply.", "Write a flatter one.") from None
    return b"[" + b",".join(parts) + b"]"


def _narrowed(query: Any, ids: list[str]) -> tuple[Any, list[str]]:
    """A query whose first step picks descriptions by their place, such as `$[:10]`, as one over those it picks."""
    from jsonpath_rfc9535 import JSONPathNode, JSONPathQuery
    from jsonpath_rfc9535.segments import JSONPathChildSegment
    from jsonpath_rfc9535.selectors import IndexSelector, SliceSelector

    first = query.segments[0] if query.segments else None
    if not isinstance(first, JSONPathChildSegment) or _is_rooted(query):
        return query, ids
    if not all(isinstance(one, IndexSelector | SliceSelector) for one in first.selectors):
        return query, ids
    picked = [str(node.value) for node in first.resolve([JSONPathNode(value=ids, location=(), parent=None, root=ids)])]
    every = query.env.compile("$[*]").segments
    return JSONPathQuery(env=query.env, segments=(*every, *query.segments[1:])), picked


def _picked(directory: Directory, search: Search, query: Any, ids: list[str]) -> tuple[Any, list[str]]:
    """A query whose first step picks descriptions by their heads, such as `$[?@.title=='Lamp']`, as one over those."""
    from jsonpath_rfc9535 import JSONPathQuery

    first, *rest = query.segments
    if not picks_by_heads(first):
        return query, ids
    pick = JSONPathQuery(env=query.env, segments=(first,))
    heads = _documents(directory, search, ids, _head)
    picked = [identifier for identifier, head in heads if any(True for _ in pick.finditer([head]))]
    return JSONPathQuery(env=query.env, segments=(*query.env.compile("$[*]").segments, *rest)), picked


def _is_rooted(query: Any) -> bool:
    """Whether a part of it looks at all descriptions again."""
    return any("$" in str(segment) for segment in query.segments)


def _goes_one_by_one(query: Any) -> bool:
    """Whether each description can be looked at alone: the first step takes all, or picks by a filter of its own."""
    from jsonpath_rfc9535.segments import JSONPathChildSegment
    from jsonpath_rfc9535.selectors import FilterSelector, WildcardSelector

    if not query.segments or not isinstance(query.segments[0], JSONPathChildSegment):
        return False
    if _is_rooted(query):
        return False
    return all(isinstance(one, FilterSelector | WildcardSelector) for one in query.segments[0].selectors)


def _visible_ids(directory: Directory, search: Search) -> list[str]:
    """The identifiers of the descriptions to look at, in their order."""
    ids = list(directory.ids(search.project))
    if search.visible is None:
        return ids
    things = ((identifier, directory.thing_of(search.project, identifier)) for identifier in ids)
    return [identifier for identifier, thing in things if thing is not None and thing.name in search.visible]


def _documents(directory: Directory, search: Search, ids: list[str], make: Maker) -> Iterator[tuple[str, Json]]:
    """What `make` makes of the things of these identifiers, in their order."""
    for start in range(0, len(ids), _DOCUMENTS_AT_ONCE):
        things = [(one, directory.thing_of(search.project, one)) for one in ids[start : start + _DOCUMENTS_AT_ONCE]]
        chosen = [(identifier, thing) for identifier, thing in things if thing is not None]
        names = [thing.name for _, thing in chosen if thing.registered_id]
        registered = directory.registered(search.project, names) if names else {}
        for identifier, thing in chosen:
            yield identifier, make(directory, search, thing, registered.get(thing.name))


def _head(directory: Directory, search: Search, thing: Thing, registered: Registered | None) -> Json:
    """The head of a description; all of one that somebody registered, which is stored as it came."""
    return heading(search.project, thing) if registered is None else _document(directory, search, thing, registered)


def _document(directory: Directory, search: Search, thing: Thing, registered: Registered | None) -> Json:
    if registered is not None:
        document: Json = msgspec.json.decode(registered.document)
    else:
        model = directory.model(search.project, thing.model) if thing.model else None
        document = build_description(search.project, thing, model, search.base, search.mqtt)
    part = search.visible.get(thing.name) if search.visible is not None else None
    if part is not None:
        document = part_of(document, lambda name: name in part)
    return enrich(document, registration_of(thing, registered) | {"retrieved": search.now_ns})


def serve(directory: Directory, source: BinaryIO, target: BinaryIO) -> None:
    """Answer searches until there are no more."""
    target.write(_READY)
    target.flush()
    while size := source.read(4):
        search = msgspec.msgpack.decode(source.read(int.from_bytes(size, "little")), type=Search)
        try:
            directory.refresh()
            answer = Answer(find(directory, search))
        except TaihuError as error:
            answer = Answer(error=error.code, message=error.message, remedy=error.remedy)
        data = msgspec.msgpack.encode(answer)
        target.write(len(data).to_bytes(4, "little") + data)
        target.flush()


def main(metadata: Path, memory_bytes_max: int, clock: Clock) -> None:
    """Serve what comes on stdin."""
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import_module("jsonpath_rfc9535")  # before it is ready: no search's time goes by for it
    directory = Directory(metadata, clock, read_only=True)
    try:
        serve(directory, sys.stdin.buffer, sys.stdout.buffer)
    except MemoryError:
        os._exit(1)  # the parent says so


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), SystemClock())
