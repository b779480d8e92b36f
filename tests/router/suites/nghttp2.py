"""nghttp and h2load: HTTP/2 by prior knowledge and by upgrade, padding, CONTINUATION, small windows, priorities, uploads, and
thousands of requests over few connections, by HTTP/1.1 too."""

import os
import re
import subprocess

from rig import first_line, program, same


def version(_):
    return first_line(program("nghttp", "nghttp2-client"), "--version")


def run(rig, cases):
    nghttp, h2load = program("nghttp", "nghttp2-client"), program("h2load", "nghttp2-client")
    router = rig.router({"app.test": rig.backend("app", rig.path("data"))})
    body = rig.path("body")
    with open(body, "wb") as f:
        f.write(os.urandom(1_000_000))

    def call(*args):
        done = subprocess.run(args, capture_output=True, timeout=60, check=False)
        same(done.returncode, 0, f"the exit status ({done.stderr[-300:]!r})")
        return done.stdout

    def ask(*args, path="/hello"):
        return call(nghttp, "-H", ":authority: app.test", *args, router.url(path))

    cases.case("nghttp: prior knowledge", lambda: same(ask(), b"hello"))
    cases.case("nghttp: upgrade is not taken, HTTP/1.1 goes on", refuses_upgrade, nghttp, router)
    cases.case("nghttp: padding", lambda: same(ask("-b", "200"), b"hello"))
    cases.case("nghttp: CONTINUATION", lambda: same(ask("--continuation"), b"hello"))
    cases.case("nghttp: windows of 2^14", lambda: same(len(ask("-w", "14", "-W", "14", path="/data")), 3 * 1024 * 1024))
    cases.case("nghttp: largest windows", lambda: same(len(ask("-w", "30", "-W", "30", path="/data")), 3 * 1024 * 1024))
    cases.case("nghttp: upload", lambda: same(b'"size": 1000000' in ask("-d", body, path="/digest"), True))
    cases.case("nghttp: echo", lambda: same(len(ask("-d", body, path="/echo")), 1_000_000))
    cases.case("nghttp: Expect", lambda: same(b'"size": 1000000' in ask("--expect-continue", "-d", body, path="/digest"), True))
    cases.case("nghttp: trailers", lambda: same(b'"size": 1000000' in ask("-d", body, "--trailer", "x-sum: 1", path="/digest"), True))
    cases.case("nghttp: 50 times the same", lambda: same(ask("-m", "50"), b"hello" * 50))
    cases.case("nghttp: HPACK without a table", lambda: same(ask("-c", "0"), b"hello"))
    cases.case("nghttp: compressed", lambda: same(ask("-H", "accept-encoding: gzip", path="/text").count(b"\n"), 2000))

    def load(*args, path="/hello", count=2000):
        said = call(h2load, "-n", str(count), *args, router.url(path)).decode()
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
        same((done.groups(), codes.groups()), ((str(count), "0", "0", "0"), (str(count), "0", "0", "0")))

    cases.case("h2load: 2,000 over 10 connections, 32 at once on each", load, "-c", "10", "-m", "32")
    cases.case("h2load: 2,000 over one connection, 200 at once", load, "-c", "1", "-m", "200")
    cases.case("h2load: 2,000 over 100 connections", load, "-c", "100", "-m", "4")
    cases.case("h2load: 50 of 3 MB", lambda: load("-c", "5", "-m", "5", path="/data", count=50))
    cases.case("h2load: 60 uploads of 1 MB", lambda: load("-c", "4", "-m", "4", "-d", body, path="/digest", count=60))
    cases.case("h2load: HTTP/1.1, 2,000 over 20 connections", load, "--h1", "-c", "20")
    cases.case("h2load: HTTP/1.1, 8 at once in one connection", load, "--h1", "-c", "5", "-m", "8")


def refuses_upgrade(nghttp, router):
    """`Upgrade: h2c` is obsolete (RFC 9113, section 3.1): ignored. nghttp says so by failing."""
    done = subprocess.run([nghttp, "-u", router.url("/hello")], capture_output=True, timeout=60, check=False)
    assert b"HTTP Upgrade failed" in done.stderr, done.stderr
