"""openssl s_client: versions, suites, groups, names, ALPN, resumption; and what is no TLS on the port for it."""

import os
import re
import socket
import ssl
import subprocess

from rig import PATIENCE, first_line, program, read_all, same

GET = b"GET /hello HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n"
# Those of TLS 1.3, then of TLS 1.2 with the key that they are for.
SUITES_13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
SUITES_12 = [(f"ECDHE-{key}-{cipher}", host) for key, host in (("ECDSA", "app.test"), ("RSA", "rsa.test"))
             for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")]


def version(_):
    return " ".join(first_line(program("openssl", "openssl"), "version").split()[:2])


def run(rig, cases):
    openssl, port = program("openssl", "openssl"), rig.backend("app", rig.path("data"))
    certs = [(["*"], *rig.certificate("usual", "usual.test")), (["app.test"], *rig.certificate("one", "app.test")),
             (["rsa.test"], *rig.certificate("two", "rsa.test", key="rsa")), (["*.wild.test"], *rig.certificate("wild", "*.wild.test"))]
    router = rig.router({"app.test": port, "rsa.test": port}, certs=certs)

    def client(*args, name="app.test", send=b"", to=router.port):
        """What s_client says, and how it ends."""
        who = ["-servername", name] if name else ["-noservername"]
        done = subprocess.run([openssl, "s_client", "-connect", f"127.0.0.1:{to}", *who, *args, *(["-ign_eof"] if send else [])],
                              input=send, capture_output=True, timeout=PATIENCE, check=False)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def says(pattern, *args, **more):
        status, said = client(*args, **more)
        if status or not re.search(pattern, said, re.M):
            raise AssertionError(f"no {pattern} with status {status} in {said[-1500:]}")

    def refused(alert, *args, **more):
        status, said = client(*args, **more)
        if not status or not re.search(alert, said):
            raise AssertionError(f"status {status}, no {alert} in {said[-1500:]}")

    for way in ("tls1_3", "tls1_2"):
        told = "TLSv" + way[3:].replace("_", ".")
        cases.case(f"{told}", says, rf"^New, {told}, ", f"-{way}")
        cases.case(f"{told}: a request", says, r"^hello", f"-{way}", send=GET)
        cases.case(f"{told}: a request in a first flight of small records", says, r"^hello", f"-{way}", "-max_send_frag", "512", send=GET)
        cases.case(f"{told}: bigger answers than a record", says, r"chunk 1999", f"-{way}", send=GET.replace(b"/hello", b"/chunks?n=2000"))
        resumed(rig, cases, client, way, told)
    for way in ("tls1_1", "tls1"):
        cases.case(f"{way} is refused", refused, "alert (protocol version|handshake failure)|unsupported protocol", f"-{way}", "-cipher", "ALL:@SECLEVEL=0")
    for suite in SUITES_13:
        cases.case(suite, says, rf"Cipher is {suite}", "-tls1_3", "-ciphersuites", suite)
    for suite, host in SUITES_12:
        cases.case(suite, says, rf"Cipher is {suite}", "-tls1_2", "-cipher", suite, name=host)
    for suite in ("AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256", "NULL-SHA"):
        cases.case(f"{suite} is refused", refused, "alert|no ciphers|no cipher match", "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0", name="rsa.test")
    cases.case("our order of suites counts", says, "Cipher is TLS_AES_128_GCM_SHA256", "-ciphersuites", ":".join(reversed(SUITES_13)))
    for group in ("X25519", "P-256", "P-384"):
        cases.case(f"group {group}", says, r"^New, TLSv1.3", "-tls1_3", "-groups", group)
    cases.case("a retry for another group", says, r"^New, TLSv1.3", "-tls1_3", "-groups", "P-521:P-256")
    cases.case("TLS 1.2: renegotiation is safe", says, r"^Secure Renegotiation IS supported", "-tls1_2")
    cases.case("TLS 1.2: extended master secret", says, r"Extended master secret: yes", "-tls1_2")

    for name, shown in [("app.test", "one"), ("APP.Test", "one"), ("rsa.test", "two"), ("a.wild.test", "wild"), ("a.b.wild.test", "usual"),
                        ("wild.test", "usual"), ("nobody.test", "usual"), (None, "usual")]:
        cases.case(f"the certificate for {name}", says, rf"subject=CN ?= ?{shown}\b", name=name)
    cases.case("the chain is the certificate's own", lambda: same(len(re.findall("BEGIN CERTIFICATE", client("-showcerts")[1])), 1))

    for offered, chosen in [("h2", "h2"), ("http/1.1", "http/1.1"), ("http/1.1,h2", "h2"), ("spdy/3,http/1.1", "http/1.1")]:
        for way in ("tls1_3", "tls1_2"):
            cases.case(f"ALPN {offered}, {way}", says, rf"^ALPN protocol: {chosen}$", f"-{way}", "-alpn", offered)
    cases.case("no ALPN", says, "^No ALPN negotiated")
    cases.case("no ALPN is HTTP/1.1", says, "^HTTP/1.1 200", send=GET)
    cases.case("ALPN nobody speaks", refused, "no application protocol", "-alpn", "spdy/3")
    cases.case("acme-tls/1 without a challenge", refused, "alert|unexpected eof|EOF", "-alpn", "acme-tls/1")
    # HTTP/2 has 421 for it: only there do clients join connections
    cases.case("a host of another certificate, over HTTP/1.1", says, "^HTTP/1.1 200", send=GET.replace(b"app.test", b"rsa.test"))
    cases.case("a host in other letters is no other", says, "^HTTP/1.1 200", send=GET.replace(b"app.test", b"App.Test"))
    cases.case("no name, any host", says, "^HTTP/1.1 200", name=None, send=GET)
    other_than_tls(router, cases)


def resumed(rig, cases, client, way, told):
    session = rig.path(f"session-{way}")

    def begin(*more):
        if os.path.exists(session):
            os.remove(session)
        same(client(f"-{way}", "-sess_out", session, *more, send=GET)[0], 0, "the first status")

    def again(name="app.test", *more):
        return re.findall(r"^(New|Reused), ", client(f"-{way}", "-sess_in", session, *more, name=name, send=GET)[1], re.M)

    def by_ticket():
        begin()
        same(again(), ["Reused"])

    def by_id():
        begin("-no_ticket")
        same(again("app.test", "-no_ticket"), ["Reused"])

    def other_host():
        begin()
        same(again("rsa.test")[:1], ["New"], "the session of another host")
    cases.case(f"{told}: resumed by ticket", by_ticket)
    if way == "tls1_2":
        cases.case(f"{told}: resumed by session id", by_id)
        cases.case(f"{told}: a session is for its host alone", other_host)


def other_than_tls(router, cases):
    def raw(sent):
        with socket.create_connection(("127.0.0.1", router.port), timeout=PATIENCE) as wire:
            wire.sendall(sent)
            return read_all(wire)

    def ends(sent):
        found = raw(sent)
        if found and found[0] != 0x15:
            raise AssertionError(f"not an alert: {found[:100]!r}")
    cases.case("plain HTTP is told so", lambda: same(raw(GET).split(b"\r\n")[0], b"HTTP/1.1 400 Bad Request"))
    for name, sent in [("noise", b"\x00\x01\x02\x03" * 50), ("an SSL 2 greeting", b"\x80\x2e\x01\x00\x02" + b"\0" * 43),
                       ("a record of nothing", b"\x16\x03\x01\x00\x00" * 40), ("a record too long", b"\x16\x03\x01\xff\xff" + b"a" * 70000),
                       ("a greeting of noise", b"\x16\x03\x01\x00\x40" + b"\x01\x00\x00\x3c" + b"\xff" * 60)]:
        cases.case(f"{name} ends the connection", ends, sent)

    def said_goodbye():
        """An end without close_notify could be an attacker's."""
        raw = socket.create_connection(("127.0.0.1", router.port), timeout=PATIENCE)
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        with trust.wrap_socket(raw, server_hostname="app.test", suppress_ragged_eofs=False) as wire:
            wire.sendall(GET)
            found = b""
            while piece := wire.recv(65536):
                found += piece
        same(found[-5:], b"hello")
    cases.case("the end of a connection is told", said_goodbye)

    def bytewise():
        """A greeting in pieces of one byte."""
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trust.wrap_bio(into, out, server_hostname="app.test")
        with socket.create_connection(("127.0.0.1", router.port), timeout=PATIENCE) as wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def until(what):
                while True:
                    try:
                        found = what()
                        done = True
                    except ssl.SSLWantReadError:
                        done = False
                    for b in out.read():
                        wire.sendall(bytes([b]))
                    if done:
                        return found
                    into.write(wire.recv(65536))
            until(tls.do_handshake)
            until(lambda: tls.write(GET))
            same(until(lambda: tls.read(15)), b"HTTP/1.1 200 OK")
    cases.case("byte by byte", bytewise)
