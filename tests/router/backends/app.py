"""An app on aiohttp: prints its port, then answers. `/echo` gives back what it got, `/seen` what the last uploads were."""

import asyncio
import gzip
import hashlib
import os
import sys

from aiohttp import WSMsgType, web

TEXT = "".join(f"line {n} of a page that is worth compressing\n" for n in range(2000))
BYTES = os.urandom(3 * 1024 * 1024)
reports = asyncio.Queue()


async def hello(_):
    return web.Response(text="hello")


async def head(request):
    """The request as the app saw it."""
    return web.json_response({"method": request.method, "path": request.raw_path, "version": f"{request.version.major}.{request.version.minor}",
                              "headers": [[n, v] for n, v in request.headers.items()]})


async def echo(request):
    """Every piece goes back as it comes."""
    answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    if request.content_length is not None:
        answer.content_length = request.content_length
    await answer.prepare(request)
    async for piece in request.content.iter_any():
        await answer.write(piece)
    await answer.write_eof()
    return answer


async def digest(request):
    sum_, size = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        sum_.update(piece)
        size += len(piece)
    return web.json_response({"sha256": sum_.hexdigest(), "size": size})


async def text(_):
    return web.Response(text=TEXT, headers={"ETag": '"v1"'})


async def zipped(_):
    return web.Response(body=gzip.compress(TEXT.encode()), headers={"Content-Encoding": "gzip"}, content_type="text/plain")


async def data(request):
    """Bytes, with ranges and conditions as aiohttp serves files."""
    return web.FileResponse(request.app["file"])


async def chunks(request):
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    answer.enable_chunked_encoding()
    await answer.prepare(request)
    for n in range(int(request.query.get("n", 10))):
        await answer.write(f"chunk {n}\n".encode())
    await answer.write_eof()
    return answer


async def events(request):
    """Server-sent events; with `wait` each waits until the one before was acknowledged, so nothing may be held back."""
    acks = request.app["acks"].setdefault(request.query.get("wait"), asyncio.Queue())
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await answer.prepare(request)
    for n in range(5):
        await answer.write(f"id: {n}\ndata: event {n}\n\n".encode())
        if "wait" in request.query:
            await asyncio.wait_for(acks.get(), 10)
    await answer.write_eof()
    return answer


async def ack(request):
    request.app["acks"][request.query["wait"]].put_nowait(1)
    return web.Response(text="ok")


async def status(request):
    code = int(request.match_info["code"])
    headers = {"Location": "/hello"} if 300 < code < 309 and code != 304 else {}
    return web.Response(status=code, headers=headers, text=None if code in (204, 304) else f"status {code}")


async def cookies(_):
    answer = web.Response(text="ok")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer


async def websocket(request):
    socket = web.WebSocketResponse(compress=True, max_msg_size=0, protocols=("chat",))
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def page(request):
    with open(os.path.join(os.path.dirname(__file__), "..", "clients", request.match_info["name"]), encoding="utf-8") as f:
        kind = {"html": "text/html", "js": "text/javascript", "css": "text/css"}[request.match_info["name"].rsplit(".", 1)[1]]
        return web.Response(text=f.read(), content_type=kind)


async def report(request):
    reports.put_nowait(await request.text())
    return web.Response(text="thank you")


async def reported(_):
    return web.Response(text=await asyncio.wait_for(reports.get(), 60))


async def main():
    app = web.Application(client_max_size=1 << 30)
    app["acks"] = {}
    app["file"] = sys.argv[1]
    with open(sys.argv[1], "wb") as f:
        f.write(BYTES)
    for path, handler in {"/hello": hello, "/head": head, "/echo": echo, "/digest": digest, "/text": text, "/zipped": zipped,
                          "/data": data, "/chunks": chunks, "/events": events, "/ack": ack, "/status/{code}": status,
                          "/cookies": cookies, "/ws": websocket, "/page/{name}": page, "/report": report,
                          "/reported": reported}.items():
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=60)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
