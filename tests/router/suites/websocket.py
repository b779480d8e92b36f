"""`websockets` and `wsproto` through the tunnel, to `websockets` and to aiohttp: fragments, pings, close codes, compression,
big messages, slow readers, many at once; and what is no handshake."""

import asyncio
import os
import socket
from importlib.metadata import version as of

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from rig import same


def version(_):
    return f"websockets {of('websockets')}, wsproto {of('wsproto')}"


class Wire:
    """wsproto on a blocking socket."""

    def __init__(self, router, host, path="/ws", extensions=()):
        self.socket, self.ws = router.connect(), WSConnection(ConnectionType.CLIENT)
        self.events = []
        self.send(Request(host=host, target=path, extensions=list(extensions), subprotocols=["chat"]))
        self.answer = self.next()

    def send(self, *events):
        for event in events:
            self.socket.sendall(self.ws.send(event))

    def next(self):
        while not self.events:
            data = self.socket.recv(65536)
            self.ws.receive_data(data or None)
            self.events = list(self.ws.events())
        return self.events.pop(0)

    def message(self):
        parts = []
        while True:
            event = self.next()
            parts.append(event.data)
            if event.message_finished:
                return type(parts[0])().join(parts)

    def close(self):
        self.socket.close()


def run(rig, cases):
    router = rig.router({"echo.test": rig.backend("echo"), "plain.test": rig.backend("echo", "plain"), "app.test": rig.backend("app", rig.path("data"))})
    for host in ("echo.test", "plain.test", "app.test"):
        by_websockets(router, cases, host)
        by_wsproto(router, cases, host)
    closes(router, cases)
    handshakes(router, cases)


def by_websockets(router, cases, host):
    def ws(**more):
        return connect(router.url("/ws", host, "ws"), ssl=router.trust, host="127.0.0.1", port=router.port, max_size=None, ping_interval=None, proxy=None, **more)

    async def echoes(message, **more):
        async with ws(**more) as socket:
            await socket.send(message)
            same(await socket.recv() == message, True, "the same message")

    for compression in (None, "deflate"):
        way = f"{host}, websockets, {'deflate' if compression else 'plain'}"
        for size in (0, 1, 125, 126, 65535, 65536, 1_000_000, 16_000_000):
            async def sized(make):
                await echoes(make(size), compression=compression)
            cases.case(f"{way}: {size} bytes", sized, os.urandom)
            cases.case(f"{way}: text of {size}", sized, lambda n: "ab" * (n // 2) + "c" * (n % 2))

        async def many():
            async with ws(compression=compression) as socket:
                async def send():
                    for n in range(1000):
                        await socket.send(f"message {n}")
                task = asyncio.create_task(send())
                same([await socket.recv() for _ in range(1000)], [f"message {n}" for n in range(1000)])
                await task
        cases.case(f"{way}: 1,000 messages both ways at once", many)

        async def fragments():
            async with ws(compression=compression) as socket:
                await socket.send(f"part {n} " for n in range(100))
                same(await socket.recv(), "".join(f"part {n} " for n in range(100)))
        cases.case(f"{way}: 100 fragments", fragments)

    async def pings():
        async with ws() as socket:
            for n in range(20):
                await (await socket.ping(b"%d" % n))
    cases.case(f"{host}, websockets: pings are answered by the app", pings)

    async def chat():
        async with ws(subprotocols=["chat"]) as socket:
            same(socket.subprotocol, "chat")
    cases.case(f"{host}, websockets: subprotocol", chat)

    async def slow():
        async with ws(compression=None, max_queue=1) as socket:
            message = os.urandom(1_000_000)

            async def send():
                for _ in range(20):
                    await socket.send(message)
            before, task = router.memory(), asyncio.create_task(send())
            await asyncio.sleep(0.3)  # the reader is slow on purpose
            grown = router.memory() - before
            for _ in range(20):
                same(await socket.recv() == message, True, "the same message")
            await task
            assert grown < 4096, f"the router took {grown} KB for a slow reader"
    cases.case(f"{host}, websockets: a slow reader costs no memory", slow)

    async def at_once():
        async def one(n):
            async with ws() as socket:
                await socket.send(str(n))
                return await socket.recv()
        same(await asyncio.gather(*(one(n) for n in range(100))), [str(n) for n in range(100)])
    cases.case(f"{host}, websockets: 100 at once", at_once)


def by_wsproto(router, cases, host):
    def talk(extensions=()):
        wire = Wire(router, host, extensions=extensions)
        assert isinstance(wire.answer, AcceptConnection), wire.answer
        return wire

    def fragments(extensions=()):
        wire = talk(extensions)
        wire.send(*(BytesMessage(b"%d " % n, message_finished=n == 49) for n in range(50)))
        same(wire.message(), b"".join(b"%d " % n for n in range(50)))
        wire.close()

    def pings_between():
        wire = talk()
        wire.send(TextMessage("a", message_finished=False), Ping(b"x"), TextMessage("b"))
        found = [wire.next(), wire.next()]
        same([e.payload for e in found if isinstance(e, Pong)], [b"x"])
        same("".join(e.data for e in found if isinstance(e, TextMessage)), "ab")
        wire.close()

    def bytewise():
        wire = talk()
        for b in wire.ws.send(TextMessage("byte by byte, ä")):
            wire.socket.sendall(bytes([b]))
        same(wire.message(), "byte by byte, ä")
        wire.close()

    def code(number, reason):
        wire = talk()
        wire.send(CloseConnection(code=number, reason=reason))
        event = wire.next()
        same((type(event), event.code), (CloseConnection, number))
        same(wire.socket.recv(1), b"", "what comes after the close")
        wire.close()

    def refused(raw, wanted):
        """Frames that no one may send: it is the app that says so, with the code of its choice."""
        wire = talk()
        wire.socket.sendall(raw)
        event = wire.next()
        same((type(event), event.code), (CloseConnection, wanted))
        wire.close()

    way = f"{host}, wsproto"
    cases.case(f"{way}: 50 fragments", fragments)
    cases.case(f"{way}: 50 fragments, deflate", fragments, (PerMessageDeflate(),))
    cases.case(f"{way}: deflate without context", fragments, (PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True),))
    cases.case(f"{way}: a ping between fragments", pings_between)
    cases.case(f"{way}: byte by byte", bytewise)
    # aiohttp answers every close with 1000
    for number in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999) if host != "app.test" else (1000,):
        cases.case(f"{way}: close {number}", code, number, "so be it")
    cases.case(f"{way}: close without a reason", code, 1000, None)
    mask = b"\0\0\0\0"
    cases.case(f"{way}: reserved bit", refused, b"\xf1\x81" + mask + b"a", 1002)
    cases.case(f"{way}: reserved opcode", refused, b"\x83\x80" + mask, 1002)
    cases.case(f"{way}: fragmented ping", refused, b"\x09\x80" + mask, 1002)
    cases.case(f"{way}: text that is no UTF-8", refused, b"\x81\x82" + mask + b"\xc3\x28", 1007)


def closes(router, cases):
    for code in (1000, 1001, 1003, 1011, 3000, 4321):
        async def app_closes():
            async with connect(router.url(f"/close/{code}", "echo.test", "ws"), ssl=router.trust, host="127.0.0.1", port=router.port, proxy=None) as socket:
                try:
                    await socket.recv()
                except ConnectionClosed as e:
                    same((e.rcvd.code, e.rcvd.reason), (code, "as you wish"))
        cases.case(f"the app closes with {code}", app_closes)

    def cut():
        wire = Wire(router, "echo.test")
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.close()
        router.serves("app.test")
    cases.case("a reset instead of a close harms nobody", cut)


def handshakes(router, cases):
    async def refused(path, status):
        try:
            async with connect(router.url(path, "app.test", "ws"), ssl=router.trust, host="127.0.0.1", port=router.port, proxy=None):
                raise AssertionError("it was taken")
        except InvalidStatus as e:
            same(e.response.status_code, status)

    async def ordinary():
        await refused("/hello", 200)

    async def nowhere():
        await refused("/nowhere", 404)
    cases.case("a handshake where an ordinary answer comes", ordinary)
    cases.case("a handshake where there is nothing", nowhere)
    base = b"GET /ws HTTP/1.1\r\nHost: echo.test\r\nConnection: %s\r\nUpgrade: websocket\r\nSec-WebSocket-Version: %s\r\n%s\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    for name, raw, status in [
        ("no key", base % (b"Upgrade", b"13", b""), b"400"), ("version 7", base % (b"Upgrade", b"7", key), b"400"),
        ("Connection is a list", base % (b"keep-alive, Upgrade", b"13", key), b"101"),
        ("names in other cases", (base % (b"uPGRADE", b"13", key)).replace(b"websocket", b"WebSocket"), b"101"),
    ]:
        def check():
            with router.connect() as wire:
                wire.sendall(raw)
                wire.settimeout(5)
                same(wire.recv(65536)[9:12], status)
        cases.case(f"handshake: {name}", check)

    def early():
        """A frame that comes in one piece with the handshake is not lost."""
        with router.connect() as wire:
            wire.sendall(base % (b"Upgrade", b"13", key) + b"\x81\x82\0\0\0\0hi")
            found = b""
            while not found.endswith(b"\x81\x02hi"):
                piece = wire.recv(65536)
                assert piece, f"it ended after {found!r}"
                found += piece
    cases.case("handshake and frames in one piece", early)
