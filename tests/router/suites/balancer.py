"""A small client that speaks as a load balancer does: PROXY headers of both versions before HTTP, or before TLS."""

import ipaddress
import json
import socket
import struct

from rig import PATIENCE, read_all, same

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ASK = b"GET /head HTTP/1.1\r\nHost: app.test\r\n"
LAST = ASK + b"Connection: close\r\n\r\n"
TRUST = {"trusted": ["127.0.0.0/8"], "proxy_protocol": True}


def version(_):
    return "PROXY protocol 1 and 2"


def v1(client, server, a=40000, b=443):
    kind = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {kind} {client} {server} {a} {b}\r\n".encode()


def v2(client, server, a=40000, b=443, additions=b"", command=0x21, family=None):
    c, s = ipaddress.ip_address(client), ipaddress.ip_address(server)
    rest = c.packed + s.packed + struct.pack("!HH", a, b) + additions
    family = family if family is not None else 0x11 if c.version == 4 else 0x21
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def run(rig, cases):
    hosts = {"app.test": rig.backend("app", rig.path("data"))}
    router = rig.router(hosts, front=TRUST)

    def opened(header, pieces=None, to=router):
        """A connection that begins with the header, after the handshake where there is one."""
        wire = socket.create_connection(("127.0.0.1", to.port), timeout=PATIENCE)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(header), pieces or len(header) or 1):
            wire.sendall(header[i:i + (pieces or len(header))])
        return to.trust.wrap_socket(wire, server_hostname="app.test") if to.secure else wire

    def seen(answer):
        head, _, body = answer.partition(b"\r\n\r\n")
        same(head.split(b"\r\n")[0], b"HTTP/1.1 200 OK", f"the answer to {answer[:300]}")
        fields = {n.lower(): v for n, v in json.loads(body[body.index(b"{"):body.rindex(b"}") + 1])["headers"]}
        same(fields["x-forwarded-proto"], "https" if router.secure else "http", "the scheme")
        return fields["x-forwarded-for"]

    def tells(client, header, pieces=None):
        with opened(header, pieces) as wire:
            wire.sendall(LAST)
            same(seen(read_all(wire)), client, "the client")

    four, six = ("198.51.100.7", "203.0.113.1"), ("2001:db8::7", "2001:db8::1")
    good = [("1, TCP4", four[0], v1(*four)), ("1, TCP6", six[0], v1(*six)), ("1, UNKNOWN", "127.0.0.1", b"PROXY UNKNOWN\r\n"),
            ("1, UNKNOWN with more", "127.0.0.1", b"PROXY UNKNOWN ffff:f::1 ::1 65535 65535\r\n"), ("1, ports 0 and 65535", four[0], v1(*four, 0, 65535)),
            ("1, the longest", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", v1(*["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2, 65535, 65535)),
            ("2, IPv4", four[0], v2(*four)), ("2, IPv6", six[0], v2(*six)), ("2, LOCAL", "127.0.0.1", v2(*four, command=0x20)),
            ("2, LOCAL without addresses", "127.0.0.1", SIGNATURE + b"\x20\0\0\0"), ("2, no family", "127.0.0.1", SIGNATURE + b"\x21\0\0\0"),
            ("2, no family, with a rest", "127.0.0.1", SIGNATURE + b"\x21\0\0\x05abcde"),
            ("2, Unix sockets", "127.0.0.1", SIGNATURE + b"\x21\x31\0\xd8" + b"/run/a".ljust(108, b"\0") * 2),
            ("2, additions", four[0], v2(*four, additions=tlv(1, b"h2") + tlv(2, b"app.test") + tlv(4, b"") + tlv(0xEA, b"vpce-1"))),
            ("2, 4,000 bytes of additions", six[0], v2(*six, additions=tlv(4, b"x" * 4000)))]
    for name, client, header in good:
        cases.case(f"version {name}", tells, client, header)
        cases.case(f"version {name}, byte by byte", tells, client, header, 1)
        cases.case(f"version {name}, in sevens", tells, client, header, 7)

    def two():
        with opened(v2(*four)) as wire:
            wire.sendall(ASK + b"\r\n" + LAST)
            same(read_all(wire).count(four[0].encode()), 2, "answers that tell the client")
    cases.case("two requests on one connection have one client", two)

    def forged():
        """What the client says of others before it stands before it, not in its place."""
        with opened(v1(*four)) as wire:
            wire.sendall(LAST.replace(b"Connection", b"X-Forwarded-For: 192.0.2.1\r\nConnection"))
            same(seen(read_all(wire)).split(",")[-1].strip(), four[0], "the last of the clients")
    cases.case("a client's own X-Forwarded-For does not replace it", forged)

    def closes(header):
        wire = socket.create_connection(("127.0.0.1", router.port), timeout=PATIENCE)
        with wire:
            wire.sendall(header + LAST)
            same(read_all(wire), b"", "what comes on a connection without a good header")

    bad = [("none", b""), ("a TLS greeting instead", b"\x16\x03\x01\x02\x00\x01"), ("a bare line feed", v1(*four).replace(b"\r", b"")), ("lower case", v1(*four).lower()),
           ("two spaces", v1(*four).replace(b" 4", b"  4")), ("a port too big", v1(*four, 65536)), ("a port with a sign", v1(*four).replace(b"40000", b"+4000")),
           ("a port with a zero before", v1(*four).replace(b"40000", b"04000")), ("addresses of the other family", v1(*four).replace(b"TCP4", b"TCP6")),
           ("a host name", v1("app.test", four[1])), ("one address", b"PROXY TCP4 198.51.100.7 40000 443\r\n"), ("one field more", v1(*four).replace(b"\r\n", b" x\r\n")),
           ("UDP", v1(*four).replace(b"TCP4", b"UDP4")), ("a line without end", b"PROXY UNKNOWN " + b"x" * 200),
           ("version 3", v2(*four, command=0x31)), ("an unknown command", v2(*four, command=0x22)), ("an unknown family", v2(*four, family=0x41)),
           ("datagrams", v2(*four, family=0x12)), ("too short for its addresses", SIGNATURE + b"\x21\x11\0\x0b" + b"\0" * 11),
           ("an addition longer than the header", v2(*four, additions=b"\x04\0\x09abc")), ("an addition cut off", v2(*four, additions=b"\x04\0")),
           ("60 KB of additions", v2(*four, additions=tlv(4, b"x" * 60000))), ("a signature with a fault", b"\r\n\r\n\0\r\nQUIT\r" + v2(*four)[12:])]
    for name, header in bad:
        cases.case(f"refused: {name}", closes, header)

    def left():
        for header in (b"", b"P", v1(*four)[:20], SIGNATURE, v2(*four)[:20]):
            socket.create_connection(("127.0.0.1", router.port), timeout=PATIENCE).sendall(header)
        tells(four[0], v1(*four))
    cases.case("who leaves in the middle harms nobody", left)
    if router.secure:
        plain = rig.router(hosts)

        def nobody():
            """Where no header is expected, it is not believed."""
            wire = socket.create_connection(("127.0.0.1", plain.port), timeout=PATIENCE)
            with wire:
                wire.sendall(v1(*four))
                same(read_all(wire).split(b"\r\n")[0], b"HTTP/1.1 400 Bad Request")
        cases.case("a header where none is expected", nobody)
        return
    stranger = rig.router(hosts, front={"trusted": ["192.0.2.0/24"], "proxy_protocol": True})

    def strange():
        wire = socket.create_connection(("127.0.0.1", stranger.port), timeout=PATIENCE)
        with wire:
            wire.sendall(v1(*four) + LAST)
            same(read_all(wire).split(b" ")[1], b"400", "a header of a peer that is not trusted")
        with socket.create_connection(("127.0.0.1", stranger.port), timeout=PATIENCE) as wire:
            wire.sendall(LAST)
            same(seen(read_all(wire)), "127.0.0.1", "the client")
    cases.case("whoever is not trusted sends none", strange)
