"""gRPC by grpcio on both sides, HTTP/2 to the router and h2c to the app: the four kinds of calls, metadata, trailers,
statuses, deadlines, cancellation, compression, big messages, many at once."""

import os
import queue
import threading
from concurrent import futures
from importlib.metadata import version as of

import grpc

from rig import PATIENCE, same


def version(_):
    return f"grpcio {of('grpcio')}"


def run(rig, cases):
    router = rig.router({"grpc.test": rig.backend("grpc_server")}, proto="h2c")

    def open_():
        return grpc.insecure_channel(f"127.0.0.1:{router.port}", options=[
            ("grpc.default_authority", "grpc.test"), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)])

    channel = open_()
    rig.closers.append(channel.close)
    unary, stream_out = channel.unary_unary("/t.T/Unary"), channel.unary_stream("/t.T/ServerStream")
    stream_in, both = channel.stream_unary("/t.T/ClientStream"), channel.stream_stream("/t.T/Both")
    fail, fail_late, slow = channel.unary_unary("/t.T/Fail"), channel.unary_stream("/t.T/FailLate"), channel.unary_unary("/t.T/Slow")

    def failed(call, code, details=None):
        try:
            call()
        except grpc.RpcError as e:
            same(e.code(), code)
            if details is not None:
                same(e.details(), details)
        else:
            raise AssertionError("it succeeded")

    for size in (0, 1, 100, 16_384, 100_000, 8_000_000):
        message = os.urandom(size)
        cases.case(f"unary, {size} bytes", lambda: same(unary(message, timeout=PATIENCE) == message, True, "the same bytes"))
    for name, kind in (("gzip", grpc.Compression.Gzip), ("deflate", grpc.Compression.Deflate)):
        cases.case(f"unary, {name}", lambda: same(unary(b"a" * 100_000, compression=kind, timeout=PATIENCE), b"a" * 100_000))

    def metadata():
        answer, call = unary.with_call(b"four", timeout=PATIENCE)
        trailers = dict(call.trailing_metadata())
        same((answer, dict(call.initial_metadata()).get("x-first"), trailers.get("x-sum"), trailers.get("x-binary-bin")), (b"four", "1", "4", b"\x00\xff\x01"))
    cases.case("metadata at the beginning and in the trailers", metadata)

    def arrives():
        found = channel.unary_unary("/t.T/Head")(b"", metadata=(("x-a", "1"), ("x-b-bin", b"\x00\xfe")), timeout=PATIENCE).decode()
        assert "('x-a', '1')" in found and r"('x-b-bin', b'\x00\xfe')" in found, found
    cases.case("metadata of the request, bytes too", arrives)
    for n in (0, 1, 1000):
        cases.case(f"server streams {n}", lambda: same(list(stream_out(b"%d" % n, timeout=PATIENCE)), [b"%d" % i for i in range(n)]))
        cases.case(f"client streams {n}", lambda: same(stream_in((b"ab" for _ in range(n)), timeout=PATIENCE), b"%d" % (2 * n)))
        cases.case(f"both stream {n}", lambda: same(list(both((b"m%d" % i for i in range(n)), timeout=PATIENCE)), [b"M%d" % i for i in range(n)]))
    cases.case("client streams 20 MB", lambda: same(stream_in((bytes(1_000_000) for _ in range(20)), timeout=PATIENCE), b"20000000"))

    def turns():
        """Each message is sent only after the answer to the one before: nothing is held back."""
        mine = queue.Queue()
        answers = both(iter(mine.get, None), timeout=PATIENCE)
        for n in range(100):
            mine.put(b"turn %d" % n)
            same(next(answers), b"TURN %d" % n)
        mine.put(None)
        same(list(answers), [])
    cases.case("both stream in turns", turns)
    for code in grpc.StatusCode:
        if code is not grpc.StatusCode.OK:
            cases.case(f"status {code.name}", failed, lambda: fail(b"%d" % code.value[0], timeout=PATIENCE), code, "as you wish: ä")
    cases.case("status after a message", failed, lambda: list(fail_late(b"", timeout=PATIENCE)), grpc.StatusCode.DATA_LOSS, "after one message")
    cases.case("unknown method", failed, lambda: channel.unary_unary("/t.T/None")(b"", timeout=PATIENCE), grpc.StatusCode.UNIMPLEMENTED)
    cases.case("deadline", failed, lambda: slow(b"", timeout=0.3), grpc.StatusCode.DEADLINE_EXCEEDED)

    def cancel():
        begun, call = threading.Event(), slow.future(b"", timeout=PATIENCE)
        call.add_done_callback(lambda _: begun.set())
        call.cancel()
        assert begun.wait(PATIENCE) and call.cancelled()
        same(unary(b"after", timeout=PATIENCE), b"after")
    cases.case("cancelled", cancel)

    def many():
        with futures.ThreadPoolExecutor(32) as pool:
            same(list(pool.map(lambda n: unary(b"%d" % n, timeout=PATIENCE), range(500))), [b"%d" % n for n in range(500)])
    cases.case("500 calls, 32 at once", many)

    def channels():
        opened = [open_() for _ in range(10)]
        same([c.unary_unary("/t.T/Unary")(b"x", timeout=PATIENCE) for c in opened], [b"x"] * 10)
        for c in opened:
            c.close()
    cases.case("ten channels", channels)

    def dead():
        """An app that is gone: the router's own answer is a status that gRPC understands."""
        absent = rig.router({"grpc.test": closed_port()}, proto="h2c")
        with grpc.insecure_channel(f"127.0.0.1:{absent.port}", options=[("grpc.default_authority", "grpc.test"), ("grpc.enable_http_proxy", 0)]) as c:
            failed(lambda: c.unary_unary("/t.T/Unary")(b"", timeout=PATIENCE), grpc.StatusCode.UNAVAILABLE)
    cases.case("an app that is gone is UNAVAILABLE", dead)


def closed_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
