"""Python's clients: http.client, urllib3, requests, httpx (HTTP/1.1 and 2) and aiohttp, each with the same table."""

import asyncio
import http.client
import io
import json
import platform
import ssl
from concurrent import futures
from importlib.metadata import version as of

import aiohttp
import httpx
import requests
import urllib3

from rig import PATIENCE, same


def version(_):
    return f"Python {platform.python_version()}, requests {of('requests')}, httpx {of('httpx')}, aiohttp {of('aiohttp')}"


def run(rig, cases):
    router = rig.router({"app.test": rig.backend("app", rig.path("data"))})
    for name, client in {"http.client": HttpClient, "urllib3": Urllib3, "requests": Requests, "httpx": Httpx, "httpx HTTP/2": Httpx2, "aiohttp": Aiohttp}.items():
        table(cases, name, client(router))
    pipelined(router, cases)


def table(cases, name, c):
    """`ask(method, path, body, headers)` gives status, lower-case headers and body."""
    def size(body, **more):
        same(json.loads(c.ask("POST", "/digest", body, more)[2])["size"], 300_000)
    cases.case(f"{name}: GET", lambda: same(c.ask("GET", "/hello")[::2], (200, b"hello")))
    cases.case(f"{name}: HEAD", lambda: same([(s, h["content-length"], b) for s, h, b in [c.ask("HEAD", "/hello")]], [(200, "5", b"")]))
    cases.case(f"{name}: 404", lambda: same(c.ask("GET", "/nowhere")[0], 404))
    cases.case(f"{name}: 204, then another", lambda: same([c.ask("GET", p)[0] for p in ("/status/204", "/hello", "/status/304", "/hello")], [204, 200, 304, 200]))
    cases.case(f"{name}: chunks", lambda: same(c.ask("GET", "/chunks?n=500")[2].count(b"chunk"), 500))
    cases.case(f"{name}: 3 MB", lambda: same(len(c.ask("GET", "/data")[2]), 3 * 1024 * 1024))
    cases.case(f"{name}: range", lambda: same([(s, len(b)) for s, _, b in [c.ask("GET", "/data", None, {"range": "bytes=0-99"})]], [(206, 100)]))
    cases.case(f"{name}: compressed text", lambda: same(c.ask("GET", "/text")[2].count(b"\n") if c.decodes else 2000, 2000))
    cases.case(f"{name}: upload with a length", size, b"x" * 300_000)
    cases.case(f"{name}: upload in pieces", size, c.pieces(lambda: (b"y" * 1000 for _ in range(300))))
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        cases.case(f"{name}: {method}", lambda: same(json.loads(c.ask(method, "/head")[2])["method"], method))
    cases.case(f"{name}: 100 in turn", lambda: same({c.ask("GET", "/hello")[2] for _ in range(100)}, {b"hello"}))

    def several():
        with futures.ThreadPoolExecutor(16) as pool:
            same(set(pool.map(lambda _: type(c)(c.router).ask("GET", "/hello")[2], range(64))), {b"hello"})
    cases.case(f"{name}: 64 from 16 threads", several)
    c.close()


class Client:
    decodes = True

    def __init__(self, router):
        self.router, self.headers = router, {"host": "app.test"}
        self.open()

    def open(self):
        pass

    def close(self):
        pass

    def pieces(self, make):
        return make()


class HttpClient(Client):
    decodes = False

    def open(self):
        if self.router.secure:
            self.c = http.client.HTTPSConnection("127.0.0.1", self.router.port, timeout=PATIENCE, context=self.router.trust)
        else:
            self.c = http.client.HTTPConnection("127.0.0.1", self.router.port, timeout=PATIENCE)

    def ask(self, method, path, body=None, headers=None):
        self.c.request(method, path, body, {**self.headers, **(headers or {})}, encode_chunked=False) if body is None or isinstance(body, bytes) else \
            self.c.request(method, path, body, {**self.headers, "transfer-encoding": "chunked"}, encode_chunked=True)
        r = self.c.getresponse()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()


class Urllib3(Client):
    def open(self):
        self.c = urllib3.PoolManager(retries=False, timeout=PATIENCE, ssl_context=self.router.trust)

    def ask(self, method, path, body=None, headers=None):
        r = self.c.request(method, self.router.url(path), body=body, headers={**self.headers, "accept-encoding": "gzip", **(headers or {})})
        return r.status, {k.lower(): v for k, v in r.headers.items()}, r.data


class Requests(Client):
    def open(self):
        self.c = requests.Session()
        self.c.trust_env = False
        self.c.verify = self.router.ca or True

    def ask(self, method, path, body=None, headers=None):
        r = self.c.request(method, self.router.url(path), data=body, headers={**self.headers, **(headers or {})}, timeout=PATIENCE)
        return r.status_code, {k.lower(): v for k, v in r.headers.items()}, r.content


class Httpx(Client):
    http2 = False

    def open(self):
        self.c = httpx.Client(http1=not self.http2, http2=self.http2, trust_env=False, timeout=PATIENCE, verify=ssl.create_default_context(cafile=self.router.ca))

    def ask(self, method, path, body=None, headers=None):
        r = self.c.request(method, self.router.url(path), content=body, headers={**self.headers, **(headers or {})})
        same(r.http_version, "HTTP/2" if self.http2 else "HTTP/1.1")
        return r.status_code, {k.lower(): v for k, v in r.headers.items()}, r.content

    def close(self):
        self.c.close()


class Httpx2(Httpx):
    http2 = True


class Aiohttp(Client):
    def ask(self, method, path, body=None, headers=None):
        async def go():
            async with aiohttp.ClientSession() as session:
                async with session.request(method, self.router.url(path), data=body, headers={**self.headers, **(headers or {})},
                                           ssl=self.router.trust or True) as r:
                    return r.status, {k.lower(): v for k, v in r.headers.items()}, await r.read()
        return asyncio.run(asyncio.wait_for(go(), PATIENCE))

    def pieces(self, make):
        return later(make)


async def later(make):
    for piece in make():
        yield piece


def pipelined(router, cases):
    """http.client's parser on answers that were asked for in one piece."""
    def check():
        with router.connect() as wire:
            wire.sendall(b"GET /hello HTTP/1.1\r\nHost: app.test\r\n\r\n" * 9 + b"GET /hello HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            found = b""
            while piece := wire.recv(65536):
                found += piece

        class Stream(io.BytesIO):
            """An answer that is closed does not close what the next one is read from."""

            def close(self):
                pass

            def makefile(self, *_):
                return self
        stream, bodies = Stream(found), []
        for _ in range(10):
            answer = http.client.HTTPResponse(stream)
            answer.begin()
            bodies.append(answer.read())
        same(bodies, [b"hello"] * 10)
    cases.case("http.client: ten pipelined answers", check)
