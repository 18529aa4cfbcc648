"""A TCP proxy between Kafka's clients and its broker, which can slow the way down and cut it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536


class Proxy:
    """Listens on a loopback port and passes on to another; in a thread of its own."""

    def __init__(self, port: int, target: int) -> None:
        self._port, self._target = port, target
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay_seconds = 0.0
        self._passes = asyncio.Event()
        self._passes.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._run(self._listen())

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def delay(self, seconds: float) -> None:
        """Every piece of data waits so long, either way."""
        self._delay_seconds = seconds

    def refuse(self) -> None:
        """Ends all connections; new ones are refused."""
        self._run(self._unlisten())

    def swallow(self) -> None:
        """Connections stand and nothing comes through. What was sent arrives when the way is open again."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def mend(self) -> None:
        """As if nothing had been."""
        self._delay_seconds = 0.0
        self._loop.call_soon_threadsafe(self._passes.set)
        self._run(self._listen())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self._port)

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _end(self) -> None:
        await self._unlisten()
        self._passes.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        for side in (writer, back):
            self._writers.add(side)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await source.read(CHUNK_BYTES):
                await self._passes.wait()
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                sink.write(data)
                await sink.drain()
        self._writers.discard(sink)
        with suppress(OSError):
            sink.close()
