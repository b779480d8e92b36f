"""Requests of which two readers could make different things, from the published tables of request smuggling (CL.TE, TE.CL,
TE.TE, CL.0, 0.CL, folded lines, bare line feeds, chunk extensions and trailers, header injection). Behind the router is a
recorder of raw bytes. What arrives there has one reading only, and is as many requests as the client was answered for."""

import re
import socket
import sys

from rig import Recorder, read_all, same

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEAD = b"POST / HTTP/1.1\r\nHost: app.test\r\n"


def version(_):
    return f"raw sockets of Python {sys.version.split()[0]}"


def chunked(coding=b"Transfer-Encoding: chunked\r\n", body=b"5\r\nhello\r\n0\r\n\r\n", head=HEAD):
    return head + coding + b"\r\n" + body


def both(coding, first=True):
    """Content-Length that covers the smuggled request, and a coding that ends before it."""
    body = b"0\r\n\r\n" + SMUGGLED
    length = b"Content-Length: %d\r\n" % len(body)
    return HEAD + (length + coding if first else coding + length) + b"\r\n" + body


def length(line, body=b"hello"):
    return HEAD + line + b"\r\n\r\n" + body


# Refused, and not one byte of it reaches the app.
def refused():
    for name, coding in {
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "identity": b"Transfer-Encoding: identity\r\n",
        "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n",
        "identity, chunked": b"Transfer-Encoding: identity, chunked\r\n",
        "xchunked": b"Transfer-Encoding: xchunked\r\n",
        "chunkedx": b"Transfer-Encoding: chunkedx\r\n",
        "quoted": b'Transfer-Encoding: "chunked"\r\n',
        "apostrophes": b"Transfer-Encoding: 'chunked'\r\n",
        "upper case": b"Transfer-Encoding: CHUNKED\r\n",
        "two spaces": b"Transfer-Encoding:  chunked\r\n",
        "tab": b"Transfer-Encoding:\tchunked\r\n",
        "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
        "form feed": b"Transfer-Encoding: \x0cchunked\r\n",
        "no-break space": b"Transfer-Encoding: \xa0chunked\r\n",
        "zero byte": b"Transfer-Encoding: chunked\x00\r\n",
        "space before colon": b"Transfer-Encoding : chunked\r\n",
        "tab before colon": b"Transfer-Encoding\t: chunked\r\n",
        "space before name": b" Transfer-Encoding: chunked\r\n",
        "tab before name": b"\tTransfer-Encoding: chunked\r\n",
        "zero byte in name": b"Transfer\x00-Encoding: chunked\r\n",
        "8-bit byte in name": b"Transfer-Encoding\xff: chunked\r\n",
        "folded": b"Transfer-Encoding:\r\n chunked\r\n",
        "folded by tab": b"Transfer-Encoding:\r\n\tchunked\r\n",
        "folded further": b"X: y\r\n Transfer-Encoding: chunked\r\n",
        "bare line feed before": b"X: y\nTransfer-Encoding: chunked\r\n",
        "bare carriage return before": b"X: y\rTransfer-Encoding: chunked\r\n",
        "bare line feed after": b"Transfer-Encoding: chunked\n",
        "carriage return twice": b"Transfer-Encoding: chunked\r\r\n",
        "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "twice, other order": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "cow": b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n",
        "parameter": b"Transfer-Encoding: chunked;q=0.5\r\n",
        "empty element": b"Transfer-Encoding: ,chunked\r\n",
        "empty": b"Transfer-Encoding:\r\n",
    }.items():
        yield f"CL.TE {name}", both(coding)
        yield f"TE.CL {name}", both(coding, first=False)
    for name, coding in {
        "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n", "gzip": b"Transfer-Encoding: gzip\r\n",
        "chunked twice in a list": b"Transfer-Encoding: chunked, chunked\r\n",
        "chunked in two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "identity alone": b"Transfer-Encoding: identity\r\n", "junk": b"Transfer-Encoding: zebra\r\n",
    }.items():
        yield f"TE {name}", chunked(coding)
    yield "TE in HTTP/1.0", chunked(head=HEAD.replace(b"1.1", b"1.0"))
    for line in [b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 5\r\nContent-Length: 5",
                 b"Content-Length: 5, 5", b"Content-Length: 5,6", b"Content-Length: +5", b"Content-Length: -5",
                 b"Content-Length: 0x5", b"Content-Length: 5 5", b"Content-Length: 5.0", b"Content-Length: 5e0",
                 b"Content-Length: 5;", b"Content-Length: \x0b5", b"Content-Length: 5\x00", b"Content-Length:",
                 b"Content-Length: five", b"Content-Length: 5_0", b"Content-Length: \xd9\xa5",
                 b"Content-Length: 99999999999999999999", b"Content-Length: 18446744073709551621", b"Content-Length : 5",
                 b" Content-Length: 5", b"Content-Length\x00: 5", b"Content-Length: 5\r\n 6", b"X: y\nContent-Length: 5",
                 b"X: y\rContent-Length: 5", b"Content-Length: 0\r\nContent-Length: 5", b"Content-Length"]:
        yield f"CL {line!r}", length(line)
    for name, body in {
        "size is empty": b"\r\n\r\n", "size is negative": b"-1\r\n\r\n", "size has a sign": b"+5\r\nhello\r\n0\r\n\r\n",
        "size has 0x": b"0x5\r\nhello\r\n0\r\n\r\n", "size overflows 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        "size after a space": b" 5\r\nhello\r\n0\r\n\r\n",
        "size and a space": b"5 \r\nhello\r\n0\r\n\r\n", "size and a tab": b"5\t\r\nhello\r\n0\r\n\r\n",
        "size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n", "size ends in a bare line feed": b"5\nhello\r\n0\r\n\r\n",
        "size ends in a bare carriage return": b"5\rhello\r\n0\r\n\r\n", "data ends in a bare line feed": b"5\r\nhello\n0\r\n\r\n",
        "data ends in nothing": b"5\r\nhello0\r\n\r\n", "data is longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
        "data ends in two other bytes": b"5\r\nhelloXX0\r\n\r\n",
        "extension has a bare line feed": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        "extension has a bare carriage return": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        "extension has a zero byte": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
        "extension ends in a bare line feed (TERM.EXT)": b"5;\nhello\r\n0\r\n\r\n" + SMUGGLED,
        "extension of 100 KB": b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
        "last chunk ends in bare line feeds": b"5\r\nhello\r\n0\n\n",
        "trailer has a bare line feed": b"0\r\nX: a\nY: b\r\n\r\n", "trailer ends in a bare line feed": b"0\r\nX: a\n\r\n",
        "trailers end in a bare line feed": b"0\r\nX: a\r\n\n", "trailers of 1 MB": b"0\r\n" + b"X: y\r\n" * 170_000 + b"\r\n",
    }.items():
        yield f"chunk {name}", chunked(body=body)
    get = b"GET / HTTP/1.1\r\n"
    for name, text in {
        "two Hosts": get + b"Host: app.test\r\nHost: other.test\r\n\r\n", "the same Host twice": get + b"Host: app.test\r\nHost: app.test\r\n\r\n",
        "no Host": get + b"\r\n", "Host with a space": get + b"Host: app.test other.test\r\n\r\n",
        "Host with a slash": get + b"Host: app.test/x\r\n\r\n", "Host with a user": get + b"Host: app.test@other.test\r\n\r\n",
        "Host is a list": get + b"Host: app.test, other.test\r\n\r\n", "Host folded": get + b"Host: app.test\r\n other.test\r\n\r\n",
        "Host with a zero byte": get + b"Host: app.test\x00\r\n\r\n", "first field is folded": get + b" Host: app.test\r\n\r\n",
        "field without colon": get + b"Host: app.test\r\nnonsense\r\n\r\n", "field without name": get + b"Host: app.test\r\n: x\r\n\r\n",
        "space in a name": get + b"Host: app.test\r\nX Y: z\r\n\r\n", "name with 8 bits": get + b"Host: app.test\r\nX\xe4: z\r\n\r\n",
        "name with a bracket": get + b"Host: app.test\r\nX(: z\r\n\r\n", "value with a zero byte": get + b"Host: app.test\r\nX: a\x00b\r\n\r\n",
        "value with a bare carriage return": get + b"Host: app.test\r\nX: a\rb\r\n\r\n", "value with DEL": get + b"Host: app.test\r\nX: a\x7fb\r\n\r\n",
        "value with a control character": get + b"Host: app.test\r\nX: a\x01b\r\n\r\n",
        "bare line feeds only": b"GET / HTTP/1.1\nHost: app.test\n\n",
        "line feed, then CRLF": b"GET / HTTP/1.1\nHost: app.test\r\n\r\n", "two spaces": b"GET  / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "tab for a space": b"GET\t/ HTTP/1.1\r\nHost: app.test\r\n\r\n", "space at the end": b"GET / HTTP/1.1 \r\nHost: app.test\r\n\r\n",
        "two spaces before the version": b"GET /  HTTP/1.1\r\nHost: app.test\r\n\r\n", "space in the target": b"GET /a b HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "zero byte in the target": b"GET /a\x00 HTTP/1.1\r\nHost: app.test\r\n\r\n", "control character in the target": b"GET /a\x01 HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "fragment in the target": b"GET /a#b HTTP/1.1\r\nHost: app.test\r\n\r\n", "target without a slash": b"GET a HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "bare carriage return in the target": b"GET /a\rb HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "method with a bracket": b"G(T / HTTP/1.1\r\nHost: app.test\r\n\r\n", "method is empty": b" / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "space before the method": b" GET / HTTP/1.1\r\nHost: app.test\r\n\r\n", "HTTP/0.9": b"GET /\r\n\r\n", "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: app.test\r\n\r\n",
        "HTTP/2.0 in a line": b"GET / HTTP/2.0\r\nHost: app.test\r\n\r\n", "HTTP/1.10": b"GET / HTTP/1.10\r\nHost: app.test\r\n\r\n",
        "http/1.1": b"GET / http/1.1\r\nHost: app.test\r\n\r\n", "HTTP/01.1": b"GET / HTTP/01.1\r\nHost: app.test\r\n\r\n",
        "no version but a field": b"GET /\r\nHost: app.test\r\n\r\n", "CONNECT": b"CONNECT app.test:80 HTTP/1.1\r\nHost: app.test:80\r\n\r\n",
        "only a line feed between head and body": HEAD + b"Content-Length: 5\r\n\nhello", "a TLS ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,
        "target of 100 KB": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "field of 100 KB": get + b"Host: app.test\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        "100,000 fields": get + b"Host: app.test\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    }.items():
        yield name, text


# So many requests, by everyone's reading.
def taken():
    get = b"GET / HTTP/1.1\r\nHost: app.test\r\n"
    for name, text, count in [
        ("plain GET", get + b"\r\n", 1), ("two in one piece", (get + b"\r\n") * 2, 2), ("20 in one piece", (get + b"\r\n") * 20, 20),
        ("CL 5", length(b"Content-Length: 5"), 1), ("CL 005", length(b"Content-Length: 005"), 1),
        ("CL with blanks around", length(b"Content-Length: \t5 \t"), 1), ("CL without a blank", length(b"Content-Length:5"), 1),
        ("CL, then another", length(b"Content-Length: 5") + get + b"\r\n", 2), ("CL.0: a request as body", length(b"Content-Length: %d" % len(SMUGGLED), SMUGGLED), 1),
        ("GET with a request as body", get + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED, 1), ("CL 0, then another", length(b"Content-Length: 0", b"") + get + b"\r\n", 2),
        ("TE", chunked(), 1), ("TE, then another", chunked() + get + b"\r\n", 2), ("TE with upper-case name", chunked(b"TRANSFER-ENCODING: chunked\r\n"), 1),
        ("TE with upper-case value", chunked(b"Transfer-Encoding: Chunked\r\n"), 1), ("chunk with a request inside", chunked(body=b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"), 1),
        ("chunk extensions", chunked(body=b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n'), 1), ("sizes in both cases with zeros", chunked(body=b"0005\r\nhello\r\n000A\r\n0123456789\r\n00\r\n\r\n"), 1),
        ("trailers", chunked(body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), 1), ("trailers that would be framing", chunked(body=b"0\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nHost: other.test\r\n\r\n"), 1),
        ("Connection names the framing", HEAD + b"Connection: content-length, host\r\nContent-Length: 5\r\n\r\nhello", 1),
        ("Connection names Transfer-Encoding", chunked(b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n"), 1),
        ("look-alikes of the framing", HEAD + b"Content_Length: 99\r\nTransfer_Encoding: chunked\r\nX-Content-Length: 7\r\nContent-Length: 5\r\n\r\nhello", 1),
        ("absolute form of the same host", b"GET http://app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n", 1),
        ("empty lines before", b"\r\n\r\n" + get + b"\r\n", 1), ("Expect", HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 1),
        ("value with 8 bits", get + b"X: \xe4\r\n\r\n", 1), ("value with a tab", get + b"X: a\tb\r\n\r\n", 1), ("an empty value", get + b"X:\r\n\r\n", 1),
        ("h2c upgrade", get + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 1),
    ]:
        yield name, text, count


def requests_of(text):
    """How many requests the app got; raises on anything of which there is a second reading."""
    count = 0
    while text:
        head, ended, text = text.partition(b"\r\n\r\n")
        assert ended, f"an unfinished head arrived: {head[:300]!r}"
        first, *lines = head.split(b"\r\n")
        assert re.fullmatch(rb"[A-Z]+ [!-~]+ HTTP/1\.1", first), f"the first line is {first!r}"
        fields = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            assert colon and TOKEN.fullmatch(name), f"there is the line {line!r}"
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), f"there is the line {line!r}"
            fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
        hosts, lengths, codings = (fields.get(n, []) for n in (b"host", b"content-length", b"transfer-encoding"))
        assert len(hosts) == 1, f"the Hosts are {hosts}"
        assert len(lengths) + len(codings) <= 1, f"the framing is {lengths} and {codings}"
        if lengths:
            assert re.fullmatch(rb"[0-9]+", lengths[0]), f"the Content-Length is {lengths[0]!r}"
            n = int(lengths[0])
            assert len(text) >= n, "the body is cut short"
            text = text[n:]
        elif codings:
            assert codings[0].lower() == b"chunked", f"the coding is {codings[0]!r}"
            text = unchunked(text)
        count += 1
    return count


def unchunked(text):
    while True:
        size, ended, text = text.partition(b"\r\n")
        assert ended and re.fullmatch(rb"[0-9a-fA-F]{1,16}", size), f"the size of a chunk is {size!r}"
        n = int(size, 16)
        if n == 0:
            break
        assert text[n:n + 2] == b"\r\n", "a chunk does not end where it should"
        text = text[n + 2:]
    while True:
        line, ended, text = text.partition(b"\r\n")
        assert ended, "the trailers do not end"
        if not line:
            return text
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*", line), f"there is the trailer {line!r}"


# Never whole: the router may wait for more or refuse, but the app gets no whole request.
def unfinished():
    yield "size overflows 32 bits to five", chunked(body=b"100000005\r\nhello\r\n0\r\n\r\n" + SMUGGLED)
    yield "bare carriage returns only", b"GET / HTTP/1.1\rHost: app.test\r\r"
    yield "0.CL", length(b"Content-Length: %d" % (len(SMUGGLED) + 9), SMUGGLED)
    yield "last chunk without an end", chunked(body=b"5\r\nhello\r\n0\r\n")
    yield "a head without an end", HEAD + b"X: y\r\n"


def statuses_of(found):
    """Of the final answers."""
    return [int(s) for s in re.findall(rb"HTTP/1\.[01] ([2-5]\d\d) ", found)]


def ask(router, text, then=b"", end=False):
    """The statuses of the final answers. `then` is sent as well; `end`: the client says that nothing more comes."""
    with router.connect() as wire:
        try:
            wire.sendall(text + then)
            if end:
                wire.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before it had come
        return statuses_of(read_all(wire))


def run(rig, cases):
    recorder = Recorder()
    rig.closers.append(recorder.close)
    router = rig.router({"app.test": recorder.port})

    def nothing_whole():
        for seen in recorder.take():
            try:
                count = requests_of(seen)
            except AssertionError as e:
                # a body that goes wrong on its way was begun
                assert any(s in str(e) for s in ("cut short", "size of a chunk", "trailers do not end", "where it should")), e
                count = 0
            same(count, 0, f"the number of whole requests at the app, {seen[:200]!r},")

    def refuses(text):
        statuses = ask(router, text)
        nothing_whole()
        assert len(statuses) == 1 and statuses[0] >= 400, f"the client got {statuses}"

    def waits(text):
        statuses = ask(router, text, end=True)
        nothing_whole()
        assert all(s >= 400 for s in statuses), f"the client got {statuses}"

    def takes(text, count):
        last = b"GET /last HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"
        statuses, seen = ask(router, text, last), recorder.take()
        same(sum(requests_of(s) for s in seen), count + 1, "the number of requests at the app, the last one too,")
        same(statuses, [200] * (count + 1), "the answers' statuses")

    for name, text in refused():
        cases.case(name, refuses, text)
    for name, text in unfinished():
        cases.case(f"unfinished: {name}", waits, text)
    # of its own: what was begun above may still be on its way
    recorder = Recorder()
    rig.closers.append(recorder.close)
    router = rig.router({"app.test": recorder.port})
    for name, text, count in taken():
        cases.case(name, takes, text, count)
    answers(rig, cases)


def answers(rig, cases):
    """What an app may not make a client read: bad framing of answers is 502 or 503, and never two answers."""
    head = b"HTTP/1.1 200 OK\r\n"
    for name, answer in {
        "CL and TE": head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "two CL": head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "CL of no number": head + b"Content-Length: x\r\n\r\n", "TE of another coding": head + b"Transfer-Encoding: zebra\r\n\r\nhello",
        "folded": head + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "bare carriage return": head + b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "zero byte": head + b"X: a\x00\r\nContent-Length: 0\r\n\r\n",
        "space before the colon": head + b"Content-Length : 5\r\n\r\nhello", "no status": b"HTTP/1.1 OK\r\n\r\n", "junk": b"hello\r\n\r\n", "status 99": b"HTTP/1.1 99 X\r\n\r\n",
        "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "head of 2 MB": head + b"X: y\r\n" * 400_000 + b"\r\n",
    }.items():
        recorder = Recorder(answer)
        rig.closers.append(recorder.close)
        router = rig.router({"app.test": recorder.port})

        def check(router=router):
            found = ask(router, b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            assert found in ([502], [503]), f"the client got {found}"
        cases.case(f"answer: {name}", check)
        router.child.terminate()
        router.child.wait()
        rig.routers.remove(router)
    extra = Recorder(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
    rig.closers.append(extra.close)
    router = rig.router({"app.test": extra.port})

    def queue():
        for _ in range(5):
            with router.connect() as wire:
                wire.sendall(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
                assert b"stolen" not in read_all(wire), "an answer nobody asked for was given to a client"
    cases.case("answer: one too many is given to nobody", queue)
