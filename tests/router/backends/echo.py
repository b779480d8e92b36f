"""A WebSocket echo on `websockets`: prints its port, then sends back what comes, whatever its size."""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    if socket.request.path.startswith("/close/"):
        await socket.close(int(socket.request.path.rsplit("/", 1)[1]), "as you wish")
        return
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass


def chosen(_, offered):
    return "chat" if "chat" in offered else None


async def main():
    compression = None if "plain" in sys.argv else "deflate"
    async with serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None, compression=compression, subprotocols=["chat"], select_subprotocol=chosen) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


logging.disable(logging.CRITICAL)
asyncio.run(main())
