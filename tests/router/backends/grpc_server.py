"""A gRPC service without generated code, on grpcio: prints its port. Messages are bytes."""

import sys
import time
from concurrent import futures

import grpc


def unary(request, context):
    context.set_trailing_metadata((("x-sum", str(len(request))), ("x-binary-bin", b"\x00\xff\x01")))
    context.send_initial_metadata((("x-first", "1"),))
    return request


def server_stream(request, _):
    for n in range(int(request)):
        yield b"%d" % n


def client_stream(requests, _):
    return b"%d" % sum(len(r) for r in requests)


def both(requests, _):
    for request in requests:
        yield request.upper()


def fail(request, context):
    context.abort(grpc.StatusCode(next(c.value for c in grpc.StatusCode if c.value[0] == int(request))), "as you wish: ä")


def fail_late(_, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "after one message")


def slow(_, context):
    until = time.monotonic() + 10
    while context.is_active() and time.monotonic() < until:
        time.sleep(0.01)
    return b"late"


def head(_, context):
    return repr(sorted((k, v) for k, v in context.invocation_metadata())).encode()


server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary), "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream), "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail), "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Slow": grpc.unary_unary_rpc_method_handler(slow), "Head": grpc.unary_unary_rpc_method_handler(head)}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
sys.exit(1)
