"""The wire between ingest and worker: answers, errors of every kind, time-outs, and a peer that goes away."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import WAIT_S

from taihu.kernel.errors import LimitError, LocalError, RefusedError, TaihuError
from taihu.runtime.link import Link, LinkLost, RemoteFault, remove_socket, socket_path


@asynccontextmanager
async def pair(folder: Path, **handlers: Callable[[Any], Awaitable[Any]]) -> AsyncIterator[tuple[Link, Link]]:
    """Two ends; `handlers` are those of the second."""
    path = socket_path(folder)
    there: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer, handlers)
        there.set_result(link)
        await link.run()

    server = await asyncio.start_unix_server(serve, str(path))
    here = Link(*await asyncio.open_unix_connection(str(path)), {})
    running = asyncio.create_task(here.run())
    try:
        yield here, await there
    finally:
        here.close()
        await running
        server.close()
        await server.wait_closed()


def run(folder: Path, body: Callable[[Link, Link], Awaitable[None]], **handlers: Any) -> None:
    async def whole() -> None:
        async with asyncio.timeout(WAIT_S), pair(folder, **handlers) as (here, there):
            await body(here, there)

    asyncio.run(whole())


async def echo(body: Any) -> Any:
    return body


async def never(body: Any) -> Any:
    await asyncio.Event().wait()


def test_calls_are_answered_even_out_of_order(tmp_path: Path) -> None:
    async def slow(body: int) -> int:
        for _ in range(20 - body):
            await asyncio.sleep(0)
        return body

    async def body(here: Link, there: Link) -> None:
        assert await asyncio.gather(*(here.call("slow", number, 10.0) for number in range(20))) == list(range(20))
        assert await here.call("echo", {"big": bytes(5_000_000)}, 10.0) == {"big": bytes(5_000_000)}

    run(tmp_path, body, slow=slow, echo=echo)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefusedError("No.", "Ask less."), "refused"),
        (LimitError("Too many.", "Ask less."), "limit"),
        (LocalError("Wrong.", "Fix it."), "local"),
    ],
)
def test_an_error_crosses_with_its_kind_and_remedy(tmp_path: Path, error: TaihuError, kind: str) -> None:
    async def fail(body: Any) -> Any:
        raise error

    async def body(here: Link, there: Link) -> None:
        with pytest.raises(RemoteFault) as caught:
            await here.call("fail", None, 10.0)
        assert (caught.value.fault_kind, caught.value.message, caught.value.remedy) == (
            kind,
            error.message,
            error.remedy,
        )

    run(tmp_path, body, fail=fail)


def test_a_defect_there_is_an_error_here_and_the_link_lives(tmp_path: Path) -> None:
    async def broken(body: Any) -> Any:
        raise ZeroDivisionError

    async def body(here: Link, there: Link) -> None:
        for name in ("broken", "nothing-of-that-name"):
            with pytest.raises(RemoteFault) as caught:
                await here.call(name, None, 10.0)
            assert caught.value.fault_kind == "internal"
        assert await here.call("echo", 1, 10.0) == 1

    run(tmp_path, body, broken=broken, echo=echo)


def test_no_answer_in_time_is_told(tmp_path: Path) -> None:
    async def body(here: Link, there: Link) -> None:
        with pytest.raises(LinkLost, match="within"):
            await here.call("never", None, 0.01)

    run(tmp_path, body, never=never)


def test_a_peer_that_goes_fails_every_call_at_once(tmp_path: Path) -> None:
    async def body(here: Link, there: Link) -> None:
        calls = [asyncio.create_task(here.call("never", None, 3_600.0)) for _ in range(3)]
        await asyncio.sleep(0)
        there.close()
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, LinkLost)
        with pytest.raises(LinkLost):
            await here.call("echo", 1, 1.0)
        here.note("echo", 1)

    run(tmp_path, body, never=never, echo=echo)


def test_a_note_after_the_peer_is_gone_is_no_error(tmp_path: Path) -> None:
    """The group commit tells the worker after each sync; it must not stumble over one that just died."""

    async def body(here: Link, there: Link) -> None:
        there.close()
        for number in range(50):
            here.note("durable", number)
            await asyncio.sleep(0)

    run(tmp_path, body)


def test_too_many_calls_are_refused(tmp_path: Path) -> None:
    """§6"""

    async def body(here: Link, there: Link) -> None:
        calls = [asyncio.create_task(here.call("never", None, 3_600.0)) for _ in range(400)]
        await asyncio.sleep(0.05)
        refused = [call for call in calls if call.done()]
        assert refused
        assert all(isinstance(call.exception(), TaihuError) for call in refused)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    run(tmp_path, body, never=never)


def test_the_socket_of_a_deep_folder_is_private(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    path = socket_path(deep)
    assert len(str(path)) < 104
    assert path.parent.stat().st_mode & 0o077 == 0
    assert socket_path(deep) == path != socket_path(tmp_path / ("y" * 120))
    path.touch()
    remove_socket(deep)
    assert not path.parent.exists()


def test_a_folder_that_somebody_else_put_there_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder is everybody's: who made ours before us would listen to the worker."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    deep = tmp_path / ("y" * 120)
    private = socket_path(deep).parent
    private.chmod(0o755)
    with pytest.raises(RefusedError, match="not this user's own"):
        socket_path(deep)
    private.rmdir()
    private.symlink_to(tmp_path)
    with pytest.raises(RefusedError, match="not this user's own"):
        socket_path(deep)
