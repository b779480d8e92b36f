"""Clients that are slow on purpose: heads, bodies and answers byte by byte, hundreds at once. Others are served meanwhile, and
memory stays in bounds; the long form waits for the router to lose its patience."""

import sys
import time

from rig import read_all, same


def version(_):
    return f"raw sockets of Python {sys.version.split()[0]}"


def run(rig, cases):
    router = rig.router({"app.test": rig.backend("app", rig.path("data"))})
    router.serves()

    def held(open_, count, kilobytes, feed=b""):
        """So many connections; then a byte to each, three times, with others served in between."""
        before, wires = router.memory(), []
        try:
            for _ in range(count):
                wire = router.connect()
                wires.append(wire)
                wire.sendall(open_)
            for n in range(3):
                for wire in wires if feed else []:
                    wire.sendall(feed[n:n + 1])
                began = time.monotonic()
                router.serves()
                assert time.monotonic() - began < 5, "another client waited"
            grown = router.memory() - before
            assert grown < kilobytes * count + 8192, f"the router took {grown} KB for {count}"
        finally:
            for wire in wires:
                wire.close()
        router.serves()

    head = b"GET /hello HTTP/1.1\r\nHost: app.test\r\n"
    # a head has a buffer of 64 KB at most, an idle connection none
    cases.case("500 connections that say nothing", held, b"", 500, 4)
    cases.case("500 heads without an end", held, head, 500, 68, b"X: ")
    cases.case("200 uploads without an end", held, b"POST /digest HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1000000\r\n\r\nabc", 200, 140, b"abc")
    cases.case("200 chunked uploads without an end", held, b"POST /digest HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", 200, 140, b"llo")
    cases.case("50 answers of 3 MB that nobody reads", held, b"GET /data HTTP/1.1\r\nHost: app.test\r\n\r\n", 50, 700)
    cases.case("200 kept alive after an answer", held, head + b"\r\n", 200, 4)

    def bytewise():
        with router.connect() as wire:
            for b in b"POST /digest HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
                wire.sendall(bytes([b]))
            found = read_all(wire)
            assert found.startswith(b"HTTP/1.1 200 ") and b'"size": 3' in found, found
    cases.case("a request byte by byte", bytewise)

    def reads_bytewise():
        with router.connect() as wire:
            wire.sendall(b"GET /chunks?n=20 HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            found = b""
            while b := wire.recv(1):
                found += b
            same(found.count(b"chunk"), 21)
    cases.case("an answer byte by byte", reads_bytewise)
    if rig.long:
        def patience():
            with router.connect(60) as wire:
                began = time.monotonic()
                wire.sendall(head)
                found = read_all(wire, 60)
                took = time.monotonic() - began
                assert 25 < took < 40, f"it took {took:.0f} s"
                assert not found or found.startswith(b"HTTP/1.1 408 "), found
        cases.case("a head that never ends is given up after 30 s", patience)
