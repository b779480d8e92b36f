"""The loads: what is asked of each proxy, and what is counted."""

import json
import os
import re
import select
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

from machine import end, start
from proxies import APP, address

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
}
UPLOAD = 10 * 1024 * 1024
UPLOADS = 8
MANY = 1000
CHANGES = 8
HANDSHAKE = ("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
ASK = "GET /small HTTP/1.1\r\nHost: localhost\r\n" + "".join(f"{k}: {v}\r\n" for k, v in BROWSER.items()) + "\r\n"


@dataclass
class Load:
    name: str
    title: str
    run: object
    needs: str = ""
    apps: int = 1
    unix: bool = False
    fresh: bool = False  # a new process for each measurement
    once: bool = False  # one round says it all
    streamed: bool = False  # nginx with and without buffering of requests
    warm: int = 0  # seconds before each round, so that connections to all apps are there


def headers(encoding, **more):
    return BROWSER | {"Accept-Encoding": encoding} | more


def tool(proxy, command):
    """Runs a load tool to its end: its output, and the CPU seconds that the proxy used meanwhile."""
    before = proxy.cpu()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        try:
            if child.wait(180) != 0:
                out.seek(0)
                raise RuntimeError(f"{command[0]} ended with {child.returncode}: {out.read()[-500:]}")
        finally:
            end(child)
        used = proxy.cpu() - before
        proxy.forget_log()
        out.seek(0)
        return out.read(), used


def figures(requests, seconds, used, p50, p99, errors, size=None):
    if requests == 0:
        raise RuntimeError("no request was answered")
    made = {"requests": requests, "rps": requests / seconds, "cpu_us": used * 1e6 / requests, "p50_ms": p50,
            "p99_ms": p99, "errors": errors}
    return made | ({"bytes": size} if size else {})


def wrk(path, connections=64, encoding="identity", hosts=1, upload=0, tls=False, close=False):
    def run(proxy, seconds, path=path):
        more = headers(encoding) | ({"Connection": "close"} if close else {})
        url = f"https://localhost:{proxy.tls_port}" if tls else f"http://127.0.0.1:{proxy.port}"
        command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s",
                   os.path.join(os.path.dirname(__file__), "workload.lua")]
        for name, value in ({"Host": "localhost"} | more).items():
            command += ["-H", f"{name}: {value}"]
        text, used = tool(proxy, [*command, url + path, "--", f"hosts={hosts}", f"upload={upload}"])
        r = json.loads(re.search(r"^RESULT (.*)$", text, re.M)[1])
        return figures(r["requests"], r["us"] / 1e6, used, r["p50"] / 1000, r["p99"] / 1000, r["errors"],
                       r["bytes"] / max(1, r["requests"]))
    return run


def h2load(path, clients, streams):
    def run(proxy, seconds):
        log = proxy.path("requests.tsv")
        open(log, "w").close()
        command = ["h2load", "-t1", f"-c{clients}", f"-m{streams}", f"-D{seconds}", f"--log-file={log}"]
        for name, value in headers("identity").items():
            command += ["-H", f"{name}: {value}"]
        text, used = tool(proxy, [*command, f"http://localhost:{proxy.h2_port}{path}"])
        with open(log) as f:
            rows = [line.split("\t") for line in f]
        times = sorted(int(r[2]) for r in rows if r[1] == "200")
        if not times:
            raise RuntimeError(f"no request was answered: {text[-300:]}")
        counts = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text).groups()
        return figures(len(times), seconds, used, times[len(times) // 2] / 1000, times[len(times) * 99 // 100] / 1000,
                       max(sum(map(int, counts)), len(rows) - len(times)))
    return run


def handshakes(proxy, seconds):
    """ab: never resumes a session."""
    text, used = tool(proxy, ["ab", "-q", "-t", str(seconds), "-n", "1000000", "-c", "16", "-f", "TLS1.3",
                              f"https://localhost:{proxy.tls_port}/small"])

    def number(what, default=None):
        found = re.search(what + r":?\s+([\d.]+)", text)
        return float(found[1]) if found else default
    requests = int(number("Complete requests"))
    return figures(requests, number("Time taken for tests"), used, number("  50%"), number("  99%"),
                   int(number("Failed requests") + number("Non-2xx responses", 0)))


def upload(proxy, seconds, path="/upload"):
    """CPU per upload, and by how much uploads that run at once let a fresh process grow."""
    top, over = [0], threading.Event()

    def watch():
        while not over.wait(0.05):
            top[0] = max(top[0], proxy.memory("Rss"))
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        made = wrk(path, UPLOADS, upload=UPLOAD)(proxy, seconds)
    finally:
        over.set()
        watcher.join()
    return made | {"rss_kb": max(0, top[0] - proxy.rss_at_start) / UPLOADS}


def idle(first, status):
    """Memory of connections that have said something once and now are quiet."""
    def run(proxy, _):
        wrk("/small", 16)(proxy, 1)
        time.sleep(1)
        before, open_ = proxy.memory(), []
        try:
            for _ in range(MANY):
                s = socket.create_connection(("127.0.0.1", proxy.port), 10)
                open_.append(s)
                s.sendall(first.encode())
                if f" {status} ".encode() not in s.recv(4096)[:20]:
                    raise RuntimeError(f"connection {len(open_)} was not answered {status}")
            time.sleep(1.5)
            lost = sum(bool(select.select([s], [], [], 0)[0]) and not drained(s) for s in open_)
            return {"kb_per_conn": (proxy.memory() - before) / MANY, "memory_mb": proxy.memory() / 1024, "errors": lost}
        finally:
            for s in open_:
                s.close()
    return run


def drained(s):
    """Takes what is left of an answer; false when the connection has ended."""
    try:
        s.setblocking(False)
        return bool(s.recv(65536))
    except BlockingIOError:
        return True
    except OSError:
        return False


class Clients:
    """40 clients at 2,000 requests a second together, evenly spread (the program bench-clients)."""

    def __init__(self, proxy):
        self.errors = proxy.path("clients.err")
        self.child = start([proxy.bench.tool("bench-clients"), f"127.0.0.1:{proxy.port}", "localhost", "40", "2000"],
                           self.errors, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.child)

    def met(self, who):
        """Nanoseconds since 1970 when the backend at `who` first answered."""
        if not select.select([self.child.stdout], [], [], 10)[0]:
            raise RuntimeError(f"no request met the backend at {who} within 10 s")
        line = self.child.stdout.readline().split()
        if len(line) != 2 or line[1] != who:
            with open(self.errors) as f:
                raise RuntimeError(f"waited for {who}, the clients said {line} {f.read()[:300]}")
        return int(line[0])

    def finish(self):
        self.child.stdin.close()
        words = self.child.stdout.read().split()
        return {name: int(n) for name, n in zip(words[::2], words[1::2])}


def paced(proxy, seconds):
    before, began = proxy.cpu(), time.monotonic()
    with Clients(proxy) as clients:
        clients.met(APP)
        time.sleep(seconds)
        seen = clients.finish()
    used = proxy.cpu() - before
    proxy.forget_log()
    return figures(seen["requests"], time.monotonic() - began, used, seen["p50"] / 1000, seen["p99"] / 1000,
                   seen["failed"])


def swap(proxy, _):
    """The app moves to another address, again and again, under 2,000 req/s of 40 clients."""
    with Clients(proxy) as clients:
        clients.met(APP)
        times = []
        for n in range(1, CHANGES + 1):
            time.sleep(0.4)
            to, told = address(60000 + n), time.time_ns()
            proxy.swap(to)
            times.append((clients.met(to) - told) / 1e6)
        time.sleep(0.4)
        seen = clients.finish()
    return {"requests": seen["requests"], "swap_ms": statistics.median(times),
            "swap_all_ms": [round(t, 1) for t in times], "failed": seen["failed"], "closed": seen["closed"],
            "errors": seen["failed"]}


LOADS = [
    Load("small", "200 B, 64 kept connections", wrk("/small")),
    Load("small-1000", "200 B, 1,000 kept connections", wrk("/small", 1000)),
    Load("close", "200 B, one connection per request", wrk("/small", close=True)),
    Load("unix", "200 B, the router's app on a Unix socket (peers on TCP)", wrk("/small"), unix=True),
    Load("text", "20 KB, not compressed", wrk("/text")),
    Load("gzip", "20 KB gzip, never the same body", wrk("/other", encoding="gzip")),
    Load("gzip-same", "20 KB gzip, the same body again", wrk("/text", encoding="gzip")),
    Load("big", "1 MB download", wrk("/big")),
    Load("upload", "10 MB upload, 8 at once", upload, fresh=True, streamed=True),
    Load("h2", "200 B over HTTP/2, 16 connections of 8 streams", h2load("/small", 16, 8), needs="h2"),
    Load("tls", "200 B over TLS, 64 kept connections", wrk("/small", tls=True), needs="tls"),
    Load("tls-full", "200 B, a full TLS 1.3 handshake each", handshakes, needs="tls"),
    Load("tls-resumed", "200 B, a resumed TLS handshake each", wrk("/small", tls=True, close=True), needs="tls"),
    Load("paced", "200 B, 2,000 requests/s over 40 connections", paced),
    Load("routes-1", "200 B, one app by name", wrk("/small")),
    Load("routes-1000", "200 B, 1,000 apps, random host", wrk("/small", hosts=1000), apps=1000, warm=1),
    Load("table-10000", "200 B, one of 10,000 apps asked", wrk("/small"), apps=10000),
    Load("routes-10000", "200 B, 10,000 apps, random host", wrk("/small", hosts=10000), apps=10000, warm=3),
    Load("websockets", "1,000 idle WebSockets", idle(HANDSHAKE, 101), fresh=True, once=True),
    Load("idle", "1,000 idle kept connections", idle(ASK, 200), fresh=True, once=True),
    Load("swap", "the backend changes 8 times under 2,000 requests/s", swap, fresh=True, once=True),
]
