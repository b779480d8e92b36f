"""HTTP/2 frame by frame, right and wrong ones: hpack encodes the fields, everything else is laid out here (RFC 9113)."""

import struct
import time

from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)
SECONDS = 5


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(*pairs):
    return b"".join(struct.pack(">HI", k, v) for k, v in pairs)


def fields(method="GET", path="/hello", *more, authority="app.test"):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority), *more]


class Wire:
    """One connection. `frames` holds what came; `over` is set when the other side has closed."""

    def __init__(self, router, settings=(), preface=PREFACE, shake=True):
        self.socket = router.connect()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.bytes, self.frames, self.over, self.theirs = b"", [], False, {}
        self.at = 0
        self.send(preface + frame(SETTINGS, payload=setting(*settings)))
        if shake:
            payload = self.until(lambda f: f[0] == SETTINGS and not f[1] & ACK)[3]
            self.theirs = dict(struct.unpack(">HI", payload[i:i + 6]) for i in range(0, len(payload), 6))
            self.send(frame(SETTINGS, ACK))
            self.until(lambda f: f[0] == SETTINGS and f[1] & ACK)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # closed already: what came before tells why

    def block(self, headers):
        return self.encoder.encode(headers)

    def request(self, stream, *more, end=True, method="GET", path="/hello", flags=0):
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0) | flags, stream, self.block(fields(method, path, *more))))

    def read(self, until):
        """The next frame, or `None` when the connection is over."""
        while True:
            if len(self.bytes) >= 9:
                size = int.from_bytes(self.bytes[:3], "big")
                if len(self.bytes) >= 9 + size:
                    kind, flags = self.bytes[3:5]
                    stream = struct.unpack(">I", self.bytes[5:9])[0] & 0x7FFFFFFF
                    found = (kind, flags, stream, self.bytes[9:9 + size])
                    self.bytes = self.bytes[9 + size:]
                    self.frames.append(found)
                    return found
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                raise AssertionError(f"nothing more came; before: {self.said()}") from None
            except OSError:
                piece = b""
            if not piece:
                self.over = True
                return None
            self.bytes += piece

    def until(self, wanted, seconds=SECONDS):
        limit = time.monotonic() + seconds
        while True:
            found = self.read(limit)
            if found is None:
                raise AssertionError(f"the connection ended; before: {self.said()}")
            if wanted(found):
                return found

    def said(self):
        names = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"]
        return [f"{names[k] if k < 10 else k} flags {fl} stream {s} {p[:12].hex()}" for k, fl, s, p in self.frames[-6:]] + [self.bytes[:80]]

    # --- what is expected

    def answered(self, stream, status="200"):
        """An answer on this stream, to its end."""
        body, found = b"", None
        while True:
            kind, flags, at, payload = self.until(lambda f: f[2] == stream and f[0] in (HEADERS, DATA, RST))
            if kind == RST:
                raise AssertionError(f"stream {at} was reset, code {int.from_bytes(payload, 'big')}")
            if kind == HEADERS:
                assert flags & END_HEADERS
                found = found or dict(self.decoder.decode(payload))[":status"]
            else:
                body += payload
            if flags & END_STREAM:
                assert found == status, f"the status is {found}, not {status}"
                return body

    def error(self, codes, streams):
        """GOAWAY (or RST_STREAM, where `streams`) with one of the codes, or the end of the connection."""
        def wanted(f):
            at = {GOAWAY: 4, RST: 0}.get(f[0])
            return (at == 4 or at == 0 and streams) and int.from_bytes(f[3][at:at + 4], "big") in codes
        limit = time.monotonic() + SECONDS
        while True:
            found = self.read(limit)
            if found is None or wanted(found):
                return

    def connection_error(self, *codes):
        self.error(codes, False)

    def stream_error(self, *codes):
        self.error(codes, True)

    def refused(self, stream, *codes):
        """A stream error, or an answer that says 4xx."""
        limit = time.monotonic() + SECONDS
        while True:
            found = self.read(limit)
            if found is None:
                return
            kind, _, at, payload = found
            if kind == GOAWAY or kind == RST and at == stream:
                code = int.from_bytes(payload[-4:] if kind == RST else payload[4:8], "big")
                assert code in codes, f"the code is {code}, not of {codes}; {self.said()}"
                return
            if kind == HEADERS and at == stream:
                status = dict(self.decoder.decode(payload))[":status"]
                assert status[0] == "4", f"it was answered {status}"
                return

    def ping(self, data=b"12345678"):
        """The connection is alive."""
        self.send(frame(PING, 0, 0, data))
        self.until(lambda f: f[0] == PING and f[1] & ACK and f[3] == data)
