"""What is allowed once and deadly a hundred thousand times: HTTP/2's floods of the published attacks. The router may end the
connection or bear it; its memory stays in bounds and another client is served meanwhile."""

import threading
import time
from importlib.metadata import version as of

from h2wire import (ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST, SETTINGS, WINDOW, Wire, fields,
                    frame, setting)
from rig import same

# Kilobytes that an attacker's one connection may cost.
MEMORY = 48 * 1024
COUNT = 100_000


def version(_):
    return f"own frames; hpack {of('hpack')}"


def run(rig, cases):
    router = rig.router({"app.test": rig.backend("app", rig.path("data"))})
    router.serves()

    def bears(attack, ends=None):
        """`ends`: the connection has to be ended."""
        before, over = router.memory(), threading.Event()
        slowest = [0.0]

        def others():
            while not over.is_set():
                began = time.monotonic()
                router.serves()
                slowest[0] = max(slowest[0], time.monotonic() - began)
        other = threading.Thread(target=others)
        other.start()
        try:
            with Wire(router) as w:
                w.socket.settimeout(5)
                attack(w)
                grown = router.memory() - before
                if ends:
                    w.connection_error(*range(14))
        finally:
            over.set()
            other.join()
        assert grown < MEMORY, f"the router took {grown} KB"
        assert slowest[0] < 5, f"another client waited {slowest[0]:.1f} s"
        router.serves()

    def send(w, data, times=1):
        """Without reading; until the other side has had enough."""
        for _ in range(times):
            try:
                w.socket.sendall(data)
            except OSError:
                return

    def continuation(w):
        send(w, frame(HEADERS, END_STREAM, 1, w.block(fields())))
        send(w, frame(CONTINUATION, 0, 1, w.encoder.encode([("x", "y" * 100)])) * 100, COUNT // 100)

    def empty_continuation(w):
        send(w, frame(HEADERS, END_STREAM, 1, w.block(fields())))
        send(w, frame(CONTINUATION, 0, 1) * 1000, COUNT // 1000)

    def rapid_reset(w):
        for n in range(0, 20_000):
            send(w, frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, w.block(fields())) + frame(RST, 0, 2 * n + 1, CANCEL.to_bytes(4, "big")))

    def made_you_reset(w):
        for n in range(0, 20_000):
            send(w, frame(HEADERS, END_HEADERS, 2 * n + 1, w.block(fields("POST", "/digest"))) + frame(WINDOW, 0, 2 * n + 1, b"\0\0\0\0"))

    def reset_after_answer(w):
        """Resets that come late are a browser's right: such a connection may not be ended after a few."""
        for n in range(50):
            w.request(2 * n + 1)
            w.answered(2 * n + 1)
            w.send(frame(RST, 0, 2 * n + 1, CANCEL.to_bytes(4, "big")))
        w.ping()

    def bomb(w):
        """HPACK's bomb: 4 KB in the table, named 16,000 times."""
        big = w.block([("x", "y" * 3900)])
        send(w, frame(HEADERS, END_STREAM | END_HEADERS, 1, w.block(fields()) + big + w.encoder.encode([("x", "y" * 3900)]) * 15_000))

    def small_windows(w):
        """3 MB asked for 200 times, and never taken."""
        send(w, frame(SETTINGS, 0, 0, setting((4, 0))))
        for n in range(200):
            send(w, frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, w.block(fields("GET", "/data"))))
        w.ping()

    def one_byte_windows(w):
        send(w, frame(SETTINGS, 0, 0, setting((4, 1))))
        for n in range(100):
            send(w, frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, w.block(fields("GET", "/text"))))
        for _ in range(200):
            send(w, b"".join(frame(WINDOW, 0, 2 * n + 1, b"\0\0\0\x01") for n in range(100)))

    def empty_data(w):
        w.request(1, end=False, method="POST", path="/digest")
        send(w, frame(DATA, 0, 1) * 1000, COUNT // 1000)

    def uploads(w):
        """100 uploads begun and never ended."""
        for n in range(100):
            w.request(2 * n + 1, ("content-length", "1000000000"), end=False, method="POST", path="/digest")
            send(w, frame(DATA, 0, 2 * n + 1, b"x" * 600))
        w.ping()

    flood = lambda data: lambda w: send(w, data * 1000, COUNT // 1000)
    for name, attack, ends in [
        ("CONTINUATION without end", continuation, True), ("empty CONTINUATION without end", empty_continuation, True),
        ("rapid reset, 20,000", rapid_reset, True), ("made you reset, 20,000", made_you_reset, True), ("50 late resets", reset_after_answer, False),
        ("PING, 100,000", flood(frame(PING, 0, 0, b"12345678")), None), ("PING ACK, 100,000", flood(frame(PING, ACK, 0, b"12345678")), None),
        ("SETTINGS, 100,000", flood(frame(SETTINGS, 0, 0, setting((4, 65535)))), None), ("empty SETTINGS, 100,000", flood(frame(SETTINGS)), None),
        ("PRIORITY, 100,000", flood(frame(PRIORITY, 0, 1, b"\0\0\0\0\x10")), None), ("WINDOW_UPDATE, 100,000", flood(frame(WINDOW, 0, 0, b"\0\0\0\x01")), None),
        ("unknown frames, 100,000", flood(frame(0x42, 0, 0, b"x" * 8)), None), ("empty DATA, 100,000", empty_data, None),
        ("HPACK's bomb", bomb, None), ("windows of 0", small_windows, None), ("windows of 1", one_byte_windows, None), ("uploads that stand", uploads, None),
    ]:
        cases.case(name, bears, attack, ends)

    def forgets():
        """All those connections are gone: what is kept now is no leak."""
        router.serves()
        same(router.memory() < 200 * 1024, True, f"{router.memory()} KB")
    cases.case("memory after all of it", forgets)
