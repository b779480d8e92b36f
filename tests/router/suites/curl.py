"""curl: HTTP/1.0, 1.1 and 2 (prior knowledge and upgrade, or ALPN), HEAD, ranges, uploads, Expect, trailers, compression, redirects,
WebSocket's handshake, keep-alive, methods."""

import hashlib
import json
import os
import re
import subprocess

from rig import first_line, program, same


def version(_):
    return " ".join(first_line(program("curl", "curl"), "--version").split()[:2])


def run(rig, cases):
    curl, file = program("curl", "curl"), rig.path("data")
    port = rig.backend("app", file)
    router = rig.router({"app.test": port})
    with open(file, "rb") as f:
        data = f.read()
    upload = rig.path("upload")
    with open(upload, "wb") as f:
        f.write(os.urandom(5_000_000))
    with open(upload, "rb") as f:
        uploaded = hashlib.sha256(f.read()).hexdigest()

    def ask(*args, path="/hello", ok=True):
        # a proxy's variables, and the person's own settings, are not for this
        command = [curl, "-q", *(["--cacert", router.ca] if router.secure else []), "--noproxy", "*", "-sS", "-m", "20", "--resolve", f"app.test:{router.port}:127.0.0.1", *args]
        done = subprocess.run([*command, router.url(path, "app.test")], capture_output=True, timeout=30, check=False)
        if ok:
            same(done.returncode, 0, f"curl's exit status ({done.stderr.decode(errors='replace').strip()})")
        return done.stdout

    def say(what, *args, **more):
        return ask("-o", os.devnull, "-w", what, *args, **more).decode()

    def digest(*args):
        same(json.loads(ask(*args, path="/digest")), {"sha256": uploaded, "size": 5_000_000}, "what the app got")

    ways = {"1.0": ["--http1.0"], "1.1": ["--http1.1"], "2": ["--http2-prior-knowledge"], "2 by upgrade": ["--http2"]}
    if router.secure:
        ways = {"1.0": ["--http1.0"], "1.1": ["--http1.1"], "2": ["--http2"]}
    for name, way in ways.items():
        told = {"1.0": "1", "2 by upgrade": "1.1"}.get(name, name)
        cases.case(f"HTTP/{name}: GET", lambda: same(ask(*way), b"hello"))
        cases.case(f"HTTP/{name}: version of the answer", lambda: same(say("%{http_version}", *way), told))
        cases.case(f"HTTP/{name}: HEAD", lambda: same(say("%{http_code} %{size_download}", "-I", *way), "200 0"))
        cases.case(f"HTTP/{name}: HEAD has the length", lambda: same(re.findall(rb"(?i)^content-length: (\d+)", ask("-I", *way), re.M), [b"5"]))
        cases.case(f"HTTP/{name}: 404", lambda: same(say("%{http_code}", *way, path="/nowhere"), "404"))
        cases.case(f"HTTP/{name}: 204", lambda: same(say("%{http_code} %{size_download}", *way, path="/status/204"), "204 0"))
        cases.case(f"HTTP/{name}: 304", lambda: same(say("%{http_code} %{size_download}", *way, path="/status/304"), "304 0"))
        cases.case(f"HTTP/{name}: chunked answer", lambda: same(ask(*way, path="/chunks?n=100"), b"".join(b"chunk %d\n" % n for n in range(100))))
        cases.case(f"HTTP/{name}: 3 MB", lambda: same(ask(*way, path="/data") == data, True, "the same bytes"))
        cases.case(f"HTTP/{name}: range", lambda: same(ask("-r", "1000-1999", *way, path="/data"), data[1000:2000]))
        cases.case(f"HTTP/{name}: range, status", lambda: same(say("%{http_code}", "-r", "1000-1999", *way, path="/data"), "206"))
        cases.case(f"HTTP/{name}: last bytes", lambda: same(ask("-r", "-10", *way, path="/data"), data[-10:]))
        cases.case(f"HTTP/{name}: range beyond the end", lambda: same(say("%{http_code}", "-r", "99999999-", *way, path="/data"), "416"))
        cases.case(f"HTTP/{name}: upload with a length", digest, "-T", upload, "-X", "POST", *way)
        if name != "1.0":
            cases.case(f"HTTP/{name}: upload in chunks", digest, "-H", "Transfer-Encoding: chunked", "-T", upload, *way)
        cases.case(f"HTTP/{name}: Expect: 100-continue", digest, "-H", "Expect: 100-continue", "--expect100-timeout", "15", "--data-binary", f"@{upload}", *way)
        cases.case(f"HTTP/{name}: no Expect", digest, "-H", "Expect:", "--data-binary", f"@{upload}", *way)
        cases.case(f"HTTP/{name}: form with a file", lambda: same(say("%{http_code}", "-F", f"a=@{upload}", "-F", "b=c", *way, path="/digest"), "200"))
        cases.case(f"HTTP/{name}: echo of 5 MB", lambda: same(hashlib.sha256(ask("--data-binary", f"@{upload}", *way, path="/echo")).hexdigest(), uploaded))
        cases.case(f"HTTP/{name}: --compressed", lambda: same(ask("--compressed", *way, path="/text").count(b"\n"), 2000, "the lines"))
        for coding in ("gzip", "zstd"):
            cases.case(f"HTTP/{name}: is compressed by {coding}", lambda: same(
                re.findall(rb"(?i)^content-encoding: (\w+)", ask("-D", "-", "-o", os.devnull, "-H", f"Accept-Encoding: {coding}", *way, path="/text"), re.M), [coding.encode()]))
        cases.case(f"HTTP/{name}: what is compressed stays", lambda: same(ask("--compressed", *way, path="/zipped").count(b"\n"), 2000, "the lines"))
        cases.case(f"HTTP/{name}: identity unasked", lambda: same(ask(*way, path="/text").count(b"\n"), 2000, "the lines"))
        if name != "2":  # curl 7.88 can't use such a connection again, whatever the server
            cases.case(f"HTTP/{name}: redirect followed", lambda: same(ask("-L", *way, path="/status/302"), b"hello"))
        cases.case(f"HTTP/{name}: two cookies set", lambda: same(len(re.findall(rb"(?i)^set-cookie:", ask("-D", "-", "-o", os.devnull, *way, path="/cookies"), re.M)), 2))
        cases.case(f"HTTP/{name}: cookies in one line", lambda: same(
            [v for n, v in json.loads(ask("-H", "Cookie: a=1; b=2", *way, path="/head"))["headers"] if n.lower() == "cookie"], ["a=1; b=2"]))
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            cases.case(f"HTTP/{name}: {method}", lambda: same(json.loads(ask("-X", method, *way, path="/head"))["method"], method))
        cases.case(f"HTTP/{name}: a query with everything", lambda: same(
            json.loads(ask("-g", *way, path="/head?a=%20b&c[]=d&e=%C3%A4&f=//x"))["path"], "/head?a=%20b&c[]=d&e=%C3%A4&f=//x"))
        cases.case(f"HTTP/{name}: dots in the path stay", lambda: same(say("%{http_code}", "--path-as-is", *way, path="/x/../nowhere"), "404"))
        cases.case(f"HTTP/{name}: Host reaches the app", lambda: same(
            [v for n, v in json.loads(ask(*way, path="/head"))["headers"] if n.lower() == "host"], [f"app.test:{router.port}"]))
        cases.case(f"HTTP/{name}: events", lambda: same(ask("-N", *way, path="/events").count(b"data:"), 5))
    again = router.url("/hello", "app.test")
    cases.case("keep-alive: three requests, one connection", lambda: same(ask("-w", "|%{num_connects} ", again, again), b"hello|1 hello|0 hello|0 "))
    if not router.secure:  # over TLS curl would ask the proxy for a tunnel
        cases.case("absolute form, through as a proxy", lambda: same(ask("--noproxy", "", "-x", f"http://127.0.0.1:{router.port}"), b"hello"))
    cases.case("trailers are asked for", lambda: same(say("%{http_code}", "-H", "TE: trailers", path="/chunks"), "200"))
    cases.case("WebSocket's handshake", lambda: same(ask(
        "--http1.1", "-i", "-N", "-m", "1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13", "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", path="/ws", ok=False).split(b"\r\n")[0], b"HTTP/1.1 101 Switching Protocols"))
    cases.case("100 fields", lambda: same(len(json.loads(ask(*[a for n in range(100) for a in ("-H", f"X-{n}: {n}")], path="/head"))["headers"]) >= 100, True))
    cases.case("a field of 8,000 bytes", lambda: same(say("%{http_code}", "-H", "X: " + "x" * 7990, path="/head"), "200"))
    cases.case("a field of 9,000 bytes", lambda: same(say("%{http_code}", "-H", "X: " + "x" * 9000, path="/head"), "431"))
