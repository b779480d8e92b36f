"""HTTP/2: the cases that h2spec 2.6 publishes for servers (RFC 7540, 7541; chapter and text are its), frame by frame, with
the fields encoded by hpack; and requests by the state machine of h2. h2spec itself can't be installed from where the other
packages come."""

import socket
import time
from importlib.metadata import version as of

import h2.config
import h2.connection
import h2.events

from h2wire import (ACK, CANCEL, CLOSED, COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW, GOAWAY, HEADERS, NO_ERROR,
                    PADDED, PING, PRIORITIZED, PRIORITY, PROTOCOL, PUSH, REFUSED, RST, SETTINGS, SIZE, WINDOW, Wire, fields, frame,
                    setting)
from rig import same

LIST = []


def version(_):
    return f"h2spec 2.6's list; h2 {of('h2')}, hpack {of('hpack')}"


def case(name):
    def put(check):
        LIST.append((name, check))
        return check
    return put


def sends(name, kind, flags=0, stream=0, payload=b"", error=None, codes=(PROTOCOL,), before=None, length=None):
    """One wrong frame, after `before`."""
    def check(router):
        with Wire(router) as w:
            if before:
                before(w)
            w.send(frame(kind, flags, stream, payload(w) if callable(payload) else payload, length))
            getattr(w, error or "connection_error")(*codes)
    LIST.append((name, check))


def open_stream(w):
    w.request(1, end=False, method="POST", path="/digest")


def half_closed(w):
    """Not answered before more comes: the app waits."""
    w.request(1, path="/slow")


def was_closed(w):
    w.request(1)
    w.answered(1)


def was_reset(w):
    open_stream(w)
    w.send(frame(RST, 0, 1, CANCEL.to_bytes(4, "big")))


def started(w):
    w.send(frame(HEADERS, END_STREAM, 1, w.block(fields())))


def block(w, *more):
    return w.block(fields("GET", "/hello", *more))


def still_serves(name, *frames, settings=()):
    def check(router):
        with Wire(router, settings) as w:
            for f in frames:
                w.send(f)
            w.ping()
            w.request(1)
            same(w.answered(1), b"hello")
    LIST.append((name, check))


def malformed(name, headers, codes=(PROTOCOL,)):
    """8.1.2: a stream error; an answer of 400 is allowed besides (RFC 9113, section 8.1.1)."""
    def check(router):
        with Wire(router) as w:
            w.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, w.block(headers)))
            w.refused(1, *codes)
    LIST.append((name, check))


def raw_block(name, data):
    sends(name, HEADERS, END_STREAM | END_HEADERS, 1, lambda w: block(w) + data, codes=(COMPRESSION,))


@case("3.5/1 client preface")
def _(router):
    with Wire(router) as w:
        w.ping()


@case("3.5/2 invalid preface")
def _(router):
    """What is no preface is HTTP/1 on this port: it is refused in its words, and the connection ends."""
    with router.connect() as w:
        w.sendall(b"INVALID CONNECTION PREFACE\r\n\r\n")
        found = b""
        while piece := w.recv(4096):
            found += piece
        assert found.startswith(b"HTTP/1.1 400 "), found


still_serves("4.1/1 unknown frame type", frame(0x16, 0, 0, b"\0" * 8))
still_serves("4.1/2 undefined flags", frame(PING, 0x16, 0, b"\0" * 8))
still_serves("4.1/3 reserved bit of the stream id", frame(PING, 0, 0x80000000, b"\0" * 8))


@case("4.2/1 DATA of 2^14")
def _(router):
    with Wire(router) as w:
        open_stream(w)
        w.send(frame(DATA, END_STREAM, 1, b"x" * 16384))
        w.answered(1)


def too_large(name, kind, codes, before, error):
    def check(router):
        with Wire(router) as w:
            if before:
                before(w)
            size = w.theirs.get(5, 16384) + 1
            w.send(frame(kind, END_STREAM | END_HEADERS, 1, b"\0" * size))
            getattr(w, error)(*codes)
    LIST.append((name, check))


too_large("4.2/2 DATA over MAX_FRAME_SIZE", DATA, (SIZE,), open_stream, "stream_error")
too_large("4.2/3 HEADERS over MAX_FRAME_SIZE", HEADERS, (SIZE,), None, "connection_error")
sends("4.3/1 invalid header block", HEADERS, END_STREAM | END_HEADERS, 1, b"\x00\x00\x01Z\x7f\xff\xff\xff\xff", codes=(COMPRESSION,))
sends("4.3/2 PRIORITY within a block", PRIORITY, 0, 1, b"\0\0\0\0\xff", before=started)
sends("4.3/3 HEADERS of another stream within a block", HEADERS, END_STREAM | END_HEADERS, 3, block, before=started)
sends("5.1/1 idle: DATA", DATA, END_STREAM, 1, b"test", "stream_error", (PROTOCOL, CLOSED))
sends("5.1/2 idle: RST_STREAM", RST, 0, 1, b"\0\0\0\x08")
sends("5.1/3 idle: WINDOW_UPDATE", WINDOW, 0, 1, b"\0\0\0\x64")
sends("5.1/4 idle: CONTINUATION", CONTINUATION, END_HEADERS, 1, block)
sends("5.1/5 half closed (remote): DATA", DATA, END_STREAM, 1, b"test", "stream_error", (CLOSED,), half_closed)
sends("5.1/6 half closed (remote): HEADERS", HEADERS, END_STREAM | END_HEADERS, 1, block, "stream_error", (CLOSED,), half_closed)
sends("5.1/7 half closed (remote): CONTINUATION", CONTINUATION, END_HEADERS, 1, block, "stream_error", (CLOSED, PROTOCOL), half_closed)
sends("5.1/8 closed by RST_STREAM: DATA", DATA, END_STREAM, 1, b"test", "stream_error", (CLOSED,), was_reset)
sends("5.1/9 closed by RST_STREAM: HEADERS", HEADERS, END_STREAM | END_HEADERS, 1, block, "stream_error", (CLOSED,), was_reset)
sends("5.1/10 closed by RST_STREAM: CONTINUATION", CONTINUATION, END_HEADERS, 1, block, "stream_error", (CLOSED, PROTOCOL), was_reset)
sends("5.1/11 closed: DATA", DATA, END_STREAM, 1, b"test", "stream_error", (CLOSED,), was_closed)
sends("5.1/12 closed: HEADERS", HEADERS, END_STREAM | END_HEADERS, 1, block, "connection_error", (CLOSED, PROTOCOL), was_closed)
sends("5.1/13 closed: CONTINUATION", CONTINUATION, END_HEADERS, 1, block, "connection_error", (CLOSED, PROTOCOL), was_closed)
sends("5.1.1/1 even stream id", HEADERS, END_STREAM | END_HEADERS, 2, block)
sends("5.1.1/2 smaller stream id", HEADERS, END_STREAM | END_HEADERS, 3, block, before=lambda w: w.request(5))


@case("5.1.2/1 more streams than allowed")
def _(router):
    with Wire(router, settings=[(4, 0)]) as w:
        limit = w.theirs.get(3)
        assert limit and limit <= 10_000, f"MAX_CONCURRENT_STREAMS is {limit}"
        for n in range(limit + 1):
            w.request(2 * n + 1, method="POST", path="/digest", end=False)
        w.stream_error(PROTOCOL, REFUSED)


def on_itself(kind):
    def check(router):
        with Wire(router) as w:
            dependency = b"\0\0\0\x01\x10"
            if kind == HEADERS:
                w.send(frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, dependency + block(w)))
            else:
                w.request(1, end=False, method="POST", path="/digest")
                w.send(frame(PRIORITY, 0, 1, dependency))
            w.stream_error(PROTOCOL)
    return check


LIST += [("5.3.1/1 HEADERS depends on itself", on_itself(HEADERS)), ("5.3.1/2 PRIORITY depends on itself", on_itself(PRIORITY))]


@case("5.4.1/1 a broken PING ends the connection")
def _(router):
    with Wire(router) as w:
        w.send(frame(PING, 0, 0, b"\0" * 6))
        w.connection_error(SIZE)
        while not w.over:
            w.read(time.monotonic() + 5)


sends("5.4.1/2 a broken PING gets GOAWAY", PING, 0, 0, b"\0" * 6, codes=(SIZE,))
still_serves("5.5/1 unknown extension frame", frame(0xff, 0, 0, b"\0" * 8))
sends("5.5/2 unknown extension frame within a block", 0xff, 0, 1, b"\0" * 8, before=started)
still_serves("6.1 DATA, HEADERS, PRIORITY unknown in between", frame(PRIORITY, 0, 7, b"\0\0\0\0\x10"), frame(0x42, 0, 9, b"x"))
sends("6.1/1 DATA on stream 0", DATA, 0, 0, b"test")
sends("6.1/2 DATA on a stream that is not open", DATA, 0, 1, b"test", "stream_error", (CLOSED,), half_closed)
sends("6.1/3 DATA with too much padding", DATA, PADDED | END_STREAM, 1, b"\x06test!", before=open_stream)
sends("6.2/1 PRIORITY after HEADERS without END_HEADERS", PRIORITY, 0, 1, b"\0\0\0\0\xff", before=started)
sends("6.2/2 HEADERS of another stream after such", HEADERS, END_STREAM | END_HEADERS, 3, block, before=started)
sends("6.2/3 HEADERS on stream 0", HEADERS, END_STREAM | END_HEADERS, 0, block)
sends("6.2/4 HEADERS with too much padding", HEADERS, PADDED | END_STREAM | END_HEADERS, 1, lambda w: bytes([len(b := block(w)) + 1]) + b)
sends("6.3/1 PRIORITY on stream 0", PRIORITY, 0, 0, b"\0\0\0\0\xff")
sends("6.3/2 PRIORITY of 4 bytes", PRIORITY, 0, 1, b"\x80\0\0\x01", "stream_error", (SIZE,), open_stream)
sends("6.4/1 RST_STREAM on stream 0", RST, 0, 0, b"\0\0\0\x08")
sends("6.4/2 RST_STREAM on an idle stream", RST, 0, 1, b"\0\0\0\x08")
sends("6.4/3 RST_STREAM of 3 bytes", RST, 0, 1, b"\0\0\0", codes=(SIZE,), before=open_stream)
sends("6.5/1 SETTINGS ACK with a payload", SETTINGS, ACK, 0, b"\0", codes=(SIZE,))
sends("6.5/2 SETTINGS on a stream", SETTINGS, 0, 1, setting((3, 100)))
sends("6.5/3 SETTINGS of 3 bytes", SETTINGS, 0, 0, b"\0\3\0", codes=(SIZE,))
sends("6.5.2/1 ENABLE_PUSH of 2", SETTINGS, 0, 0, setting((2, 2)))
sends("6.5.2/2 INITIAL_WINDOW_SIZE of 2^31", SETTINGS, 0, 0, setting((4, 1 << 31)), codes=(FLOW,))
sends("6.5.2/3 MAX_FRAME_SIZE of 2^14-1", SETTINGS, 0, 0, setting((5, 16383)))
sends("6.5.2/4 MAX_FRAME_SIZE of 2^24", SETTINGS, 0, 0, setting((5, 1 << 24)))
still_serves("6.5.2/5 unknown setting", frame(SETTINGS, 0, 0, setting((0xff, 1))))


def trickle(w, stream, size):
    """DATA of one byte each, `size` in all."""
    for n in range(size):
        found = w.until(lambda f: f[0] == DATA and f[2] == stream)
        same(len(found[3]), 1, "the length of DATA")
        w.send(frame(WINDOW, 0, stream, b"\0\0\0\x01"))


@case("6.5.3/1 INITIAL_WINDOW_SIZE twice in one frame")
def _(router):
    with Wire(router) as w:
        w.send(frame(SETTINGS, 0, 0, setting((4, 100), (4, 1))))
        w.until(lambda f: f[0] == SETTINGS and f[1] & ACK)
        w.request(1)
        trickle(w, 1, 5)


@case("6.5.3/2 SETTINGS is acknowledged")
def _(router):
    with Wire(router) as w:
        w.send(frame(SETTINGS, 0, 0, setting((2, 0))))
        w.until(lambda f: f[0] == SETTINGS and f[1] & ACK)


@case("6.7/1 PING is answered")
def _(router):
    with Wire(router) as w:
        w.ping(b"h2spec\0\0")


@case("6.7/2 PING ACK is not")
def _(router):
    with Wire(router) as w:
        w.send(frame(PING, ACK, 0, b"invalid\0"))
        w.ping(b"h2spec\0\0")
        same([f[3] for f in w.frames if f[0] == PING], [b"h2spec\0\0"])


sends("6.7/3 PING on a stream", PING, 0, 1, b"\0" * 8)
sends("6.7/4 PING of 6 bytes", PING, 0, 0, b"\0" * 6, codes=(SIZE,))
sends("6.8/1 GOAWAY on a stream", GOAWAY, 0, 1, b"\0" * 8)
sends("6.9/1 WINDOW_UPDATE of 0", WINDOW, 0, 0, b"\0" * 4)
sends("6.9/2 WINDOW_UPDATE of 0 on a stream", WINDOW, 0, 1, b"\0" * 4, "stream_error", (PROTOCOL,), open_stream)
sends("6.9/3 WINDOW_UPDATE of 3 bytes", WINDOW, 0, 0, b"\0\0\1", codes=(SIZE,))


@case("6.9.1/1 a window of 1")
def _(router):
    with Wire(router, settings=[(4, 1)]) as w:
        w.request(1)
        trickle(w, 1, 5)


sends("6.9.1/2 window above 2^31-1", WINDOW, 0, 0, b"\x7f\xff\xff\xff", codes=(FLOW,), before=lambda w: w.send(frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")))
sends("6.9.1/3 window above 2^31-1 on a stream", WINDOW, 0, 1, b"\x7f\xff\xff\xff", "stream_error", (FLOW,),
      lambda w: (open_stream(w), w.send(frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff"))))


@case("6.9.2/1 the window changes after HEADERS")
def _(router):
    with Wire(router, settings=[(4, 0)]) as w:
        w.request(1)
        w.until(lambda f: f[0] == HEADERS)
        w.send(frame(SETTINGS, 0, 0, setting((4, 1))))
        same(len(w.until(lambda f: f[0] == DATA)[3]), 1)


@case("6.9.2/2 the window becomes negative")
def _(router):
    with Wire(router, settings=[(4, 3)]) as w:
        w.request(1)
        same(len(w.until(lambda f: f[0] == DATA)[3]), 3)
        w.send(frame(SETTINGS, 0, 0, setting((4, 2))))
        w.send(frame(WINDOW, 0, 1, b"\0\0\0\x02"))
        same(w.until(lambda f: f[0] == DATA)[3], b"l")


sends("6.9.2/3 INITIAL_WINDOW_SIZE above the maximum", SETTINGS, 0, 0, setting((4, 0xffffffff)), codes=(FLOW,))


@case("6.10/1 several CONTINUATION")
def _(router):
    with Wire(router) as w:
        data = block(w, ("x-long", "y" * 300), ("x-more", "z" * 300))
        parts = [data[i:i + 150] for i in range(0, len(data), 150)]
        w.send(frame(HEADERS, END_STREAM, 1, parts[0]))
        for p in parts[1:-1]:
            w.send(frame(CONTINUATION, 0, 1, p))
        w.send(frame(CONTINUATION, END_HEADERS, 1, parts[-1]))
        w.answered(1)


sends("6.10/2 another frame between CONTINUATION", DATA, END_STREAM, 1, b"test", before=lambda w: (started(w), w.send(frame(CONTINUATION, 0, 1, w.block([("x", "y")])))))
sends("6.10/3 CONTINUATION on stream 0", CONTINUATION, END_HEADERS, 0, lambda w: w.block([("x", "y")]), before=started)
sends("6.10/4 CONTINUATION after END_HEADERS", CONTINUATION, END_HEADERS, 1, lambda w: w.block([("x", "y")]), before=open_stream)
sends("6.10/5 CONTINUATION after CONTINUATION with END_HEADERS", CONTINUATION, END_HEADERS, 1, lambda w: w.block([("x", "y")]),
      before=lambda w: (started(w), w.send(frame(CONTINUATION, END_HEADERS, 1, w.block([("a", "b")])))))
sends("6.10/6 CONTINUATION after DATA", CONTINUATION, END_HEADERS, 1, lambda w: w.block([("x", "y")]), before=lambda w: (open_stream(w), w.send(frame(DATA, 0, 1, b"test"))))


@case("7/1 GOAWAY with an unknown code")
def _(router):
    with Wire(router) as w:
        w.send(frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff"))
        w.send(frame(PING, 0, 0, b"12345678"))
        while (found := w.read(time.monotonic() + 5)) and found[0] not in (PING, GOAWAY):
            pass


@case("7/2 RST_STREAM with an unknown code")
def _(router):
    with Wire(router) as w:
        open_stream(w)
        w.send(frame(RST, 0, 1, b"\0\0\0\xff"))
        w.ping()


def second_headers(*headers, end=0):
    def check(router):
        with Wire(router) as w:
            open_stream(w)
            w.send(frame(DATA, 0, 1, b"test"))
            w.send(frame(HEADERS, END_HEADERS | end, 1, w.block(list(headers))))
            w.refused(1, PROTOCOL, NO_ERROR, CANCEL)
    return check


LIST += [("8.1/1 a second HEADERS without END_STREAM", second_headers(("x-test", "ok"))),
         ("8.1.2.1/3 a pseudo-field in the trailers", second_headers((":method", "200"), ("x-test", "ok"), end=END_STREAM))]
malformed("8.1.2/1 a name in upper case", fields("GET", "/hello", ("X-TEST", "test")))
malformed("8.1.2.1/1 an unknown pseudo-field", fields("GET", "/hello", (":test", "test")))
malformed("8.1.2.1/2 a pseudo-field of answers", fields("GET", "/hello", (":status", "200")))
malformed("8.1.2.1/4 a pseudo-field after others", [(":method", "GET"), (":scheme", "http"), ("x", "y"), (":path", "/hello"), (":authority", "app.test")])
malformed("8.1.2.2/1 connection: keep-alive", fields("GET", "/hello", ("connection", "keep-alive")))
malformed("8.1.2.2/2 te: trailers, deflate", fields("GET", "/hello", ("te", "trailers, deflate")))
malformed("8.1.2.3/1 :path is empty", fields("GET", ""))
for n, gone in enumerate([":method", ":scheme", ":path"]):
    malformed(f"8.1.2.3/{n + 2} no {gone}", [f for f in fields() if f[0] != gone])
    malformed(f"8.1.2.3/{n + 5} {gone} twice", [g for f in fields() for g in ([f, f] if f[0] == gone else [f])])
for name in ("proxy-connection", "keep-alive", "transfer-encoding", "upgrade"):
    malformed(f"9113 8.2.2 {name}", fields("GET", "/hello", (name, "chunked")))
for name, headers in {
    "two :authority": fields() + [], "line feed in a value": fields("GET", "/hello", ("x", "a\nb: c")), "carriage return in a value": fields("GET", "/hello", ("x", "a\rb")),
    "zero byte in a value": fields("GET", "/hello", ("x", "a\0b")), "space in a name": fields("GET", "/hello", ("x y", "z")), "colon in a name": fields("GET", "/hello", ("x:y", "z")),
    "line feed in a name": fields("GET", "/hello", ("x\ny", "z")), "empty name": fields("GET", "/hello", ("", "z")), "space in :path": fields("GET", "/a b"),
    "line feed in :path": fields("GET", "/a\r\nX: y"), "space in :method": fields("GET / HTTP/1.1\r\nX: y", "/"), "line feed in :authority": fields(authority="app.test\r\nX: y"),
    ":path without a slash": fields("GET", "hello"), "user in :authority": fields(authority="a@app.test"), "two Hosts": fields("GET", "/hello", ("host", "app.test"), ("host", "b.test"))[:3] + [("host", "app.test"), ("host", "b.test")],
    "two content-length": fields("POST", "/digest", ("content-length", "5"), ("content-length", "6")), "content-length of no number": fields("POST", "/digest", ("content-length", "five")),
}.items():
    if name == "two :authority":
        headers = [(":authority", "b.test"), *headers]
    malformed(f"9113 8.2.1, 8.3 {name}", headers)


def lengths(*pieces):
    def check(router):
        with Wire(router) as w:
            w.request(1, ("content-length", "1"), end=False, method="POST", path="/digest")
            for i, p in enumerate(pieces):
                w.send(frame(DATA, END_STREAM if i == len(pieces) - 1 else 0, 1, p))
            w.stream_error(PROTOCOL)
    return check


LIST += [("8.1.2.6/1 content-length is not DATA's", lengths(b"test")), ("8.1.2.6/2 content-length is not the sum of DATA's", lengths(b"test", b"test")),
         ("8.1.2.6 content-length is more than DATA's", lengths(b"", b""))]
sends("8.2/1 PUSH_PROMISE", PUSH, END_HEADERS, 1, lambda w: b"\0\0\0\2" + block(w), before=open_stream)
raw_block("hpack 2.3.3/1 indexed field with an invalid index", b"\xff\x00")
raw_block("hpack 2.3.3/2 literal field with an invalid index", b"\x7f\x30\x04test")
raw_block("hpack 4.2/1 size update at the end of a block", b"\x3f\x01")
raw_block("hpack 5.2/1 Huffman padding longer than 7 bits", b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")
raw_block("hpack 5.2/2 Huffman padding of zeros", b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")
raw_block("hpack 5.2/3 Huffman with EOS", b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")
raw_block("hpack 6.1/1 index 0", b"\x80")
sends("hpack 6.3/1 size update over the limit", HEADERS, END_STREAM | END_HEADERS, 1, lambda w: b"\x3f\xe1\xff\xff\x07" + block(w), codes=(COMPRESSION,))


def machine(router, method, path, body=b"", more=(), trailers=None, count=1):
    """Requests by h2's state machine on one connection; status, fields, body and trailers of each."""
    c = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    c.initiate_connection()
    with router.connect() as wire:
        found, left = {}, {}
        for _ in range(count):
            stream = c.get_next_available_stream_id()
            found[stream], left[stream] = {"body": b"", "over": False, "trailers": []}, body
            c.send_headers(stream, fields(method, path, *more), end_stream=not body and trailers is None)
        while not all(f["over"] for f in found.values()):
            for stream, rest in left.items():
                while rest and (n := min(c.local_flow_control_window(stream), c.max_outbound_frame_size, len(rest))) > 0:
                    c.send_data(stream, rest[:n], end_stream=n == len(rest) and trailers is None)
                    rest = rest[n:]
                    if not rest and trailers is not None:
                        c.send_headers(stream, trailers, end_stream=True)
                left[stream] = rest
            wire.sendall(c.data_to_send())
            for event in c.receive_data(wire.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    found[event.stream_id]["headers"] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    found[event.stream_id]["body"] += event.data
                    c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    found[event.stream_id]["trailers"] = event.headers
                elif isinstance(event, h2.events.StreamEnded):
                    found[event.stream_id]["over"] = True
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise AssertionError(event)
        wire.sendall(c.data_to_send())
    return list(found.values())


def run(rig, cases):
    """The app is aiohttp; `/slow` is a port where nobody answers until it is over."""
    with_slow = socket.create_server(("127.0.0.1", 0))
    rig.closers.append(with_slow.close)
    router = rig.router({"app.test": rig.backend("app", rig.path("data")), "app.test/slow": with_slow.getsockname()[1]})
    for name, check in LIST:
        cases.case(name, check, router)
    cases.case("h2: 100 requests at once", lambda: same([f["body"] for f in machine(router, "GET", "/hello", count=100)], [b"hello"] * 100))
    cases.case("h2: an echo of 2 MB", lambda: same(machine(router, "POST", "/echo", bytes(2_000_000))[0]["body"], bytes(2_000_000)))
    cases.case("h2: ten echoes of 200 KB at once", lambda: same([f["body"] for f in machine(router, "POST", "/echo", b"x" * 200_000, count=10)], [b"x" * 200_000] * 10))
    cases.case("h2: trailers of a request", lambda: same(machine(router, "POST", "/digest", b"abc", trailers=[("x-sum", "1")])[0]["headers"][":status"], "200"))
    cases.case("h2: HEAD", lambda: same(machine(router, "HEAD", "/hello")[0]["body"], b""))
    cases.case("after all of it another client is served", router.serves)
