"""A router with backends for one suite, and the cases it was asked."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
# Nothing in these suites may take longer without a word.
PATIENCE = 20


class Absent(Exception):
    """What a suite needs is not on this machine."""


class Cases:
    """What was asked, and what came of it."""

    def __init__(self, suite, known):
        self.suite, self.known = suite, known
        self.count = self.passed = self.deviated = self.failed = 0

    def add(self, name, fault=None):
        """One case; `fault` says what was wrong."""
        self.count += 1
        reason = self.known.get(name)
        if fault is None and reason is None:
            self.passed += 1
            return
        if fault is None:
            fault = f"came right: take it from deviations.py ({reason})"
        elif reason is not None:
            self.deviated += 1
            print(f"   known   {name}: {reason}", flush=True)
            return
        self.failed += 1
        print(f"   FAILED  {name}: {fault}", flush=True)

    def case(self, name, check, /, *args, **more):
        """One case: `check` raises what is wrong. What a coroutine function has to say is awaited."""
        try:
            found = check(*args, **more)
            if asyncio.iscoroutine(found):
                async def bounded():
                    return await asyncio.wait_for(found, PATIENCE)
                asyncio.run(bounded())
            self.add(name)
        except Absent:
            raise
        except Exception as e:
            self.add(name, f"{type(e).__name__}: {e}"[:2000])

    def line(self, version, seconds):
        return (f"  {self.suite:<13} {version[:44]:<44} {self.count:>4} cases {self.passed:>4} passed "
                f"{self.deviated:>2} known {self.failed:>2} failed {seconds:>5.0f} s")


def same(found, wanted, what="it"):
    """Raises unless both are equal."""
    if found != wanted:
        raise AssertionError(f"{what} is {found!r:.300}, not {wanted!r:.300}")


def program(name, package):
    """The path of a program of Debian's."""
    found = shutil.which(name)
    if not found:
        raise Absent(f"{name} is missing; Debian's package {package} has it (.ci/deps conform)")
    return found


def first_line(*command):
    """What a program says about its version."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ((done.stdout or done.stderr).strip().splitlines() or ["?"])[0]


def start(command, log, **more):
    """A child in a session of its own that is told to end should this process be killed."""
    def told():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with open(log, "ab") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=more.pop("stdout", out), stderr=out,
                                start_new_session=True, preexec_fn=told, **more)


class Rig:
    """Everything of one suite; all of it ends with the `with` block."""

    def __init__(self, hokkud, long, secure=False):
        """`secure`: the routers of this suite are asked over TLS."""
        self.hokkud, self.long, self.secure = hokkud, long, secure
        self.children, self.closers, self.routers = [], [], []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="hokku-conform-")
        return self

    def __exit__(self, *_):
        for close in reversed(self.closers):
            close()
        for child in self.children:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def child(self, command, name, **more):
        child = start(command, self.path(f"{name}.log"), **more)
        self.children.append(child)
        return child

    def log(self, name):
        with open(self.path(f"{name}.log"), errors="replace") as f:
            return f.read()

    def backend(self, module, *args):
        """Starts `backends/<module>.py`; returns the port, which it prints as its first line."""
        name = f"{module}-{len(self.children)}"
        child = self.child([sys.executable, os.path.join(HERE, "backends", f"{module}.py"), *args], name,
                           stdout=subprocess.PIPE)
        line = child.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"the backend {module} did not start: {self.log(name)}")
        # what else it prints is not read: backends are quiet
        return int(line)

    def certificate(self, name, *hosts, key="ec"):
        """Makes a certificate that is its own authority: the paths of it and of its key."""
        crt, secret = self.path(f"{name}.crt"), self.path(f"{name}.key")
        kinds = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}
        alt = ",".join(f"IP:{h}" if h[0].isdigit() else f"DNS:{h}" for h in hosts)
        subprocess.run([program("openssl", "openssl"), "req", "-x509", "-newkey", *kinds[key], "-nodes", "-days", "2", "-subj",
                        f"/CN={name}", "-addext", f"subjectAltName={alt}", "-addext",
                        "keyUsage=critical,digitalSignature,keyCertSign", "-keyout", secret, "-out", crt],
                       check=True, capture_output=True)
        return crt, secret

    def router(self, hosts, proto="http1", settings=None, routing=None, **more):
        """Starts a router that leads each host to a port on loopback, and its own address where the first one leads."""
        router = Router(self, hosts, proto, settings or {}, routing or {}, **more)
        self.routers.append(router)
        return router

    def sound(self, cases):
        """Whatever it was asked, the router lives and none of its threads panicked."""
        for i, router in enumerate(self.routers):
            def check(router=router):
                if router.child.poll() is not None:
                    raise AssertionError(f"it ended with {router.child.returncode}: {router.output()[-1500:]}")
                if "panicked" in router.output():
                    raise AssertionError(router.output()[-1500:])
            cases.case(f"router {i} is alive and well at the end", check)


class Router:
    """One `hokkud router` with its table; in a suite over TLS with a certificate for all hosts, or with `certs`,
    a list of names, certificate and key."""

    def __init__(self, rig, hosts, proto, settings, routing, certs=None, front=None):
        self.rig, self.name = rig, f"router-{len(rig.children)}"
        dir_ = rig.path(self.name)
        os.makedirs(os.path.join(dir_, "logs"))
        apps = {str(uuid.UUID(int=n + 1)): {
            "name": f"app{n}", "hosts": [host] + ([] if n else ["127.0.0.1"]), "release": 1, "state": "running",
            "targets": [{"dyno": str(uuid.UUID(int=n + 1)), "name": "web.1", "addr": f"127.0.0.1:{port}"}],
            "routing": {"proto": proto, "settings": settings, **routing}} for n, (host, port) in enumerate(hosts.items())}
        with open(os.path.join(dir_, "routes.json"), "w") as f:
            json.dump({"version": 1, "apps": apps, **({"front": front} if front else {})}, f)
        command = [rig.hokkud, "router", "--dir", dir_, "--listen", "127.0.0.1:0", "--threads", "2"]
        self.secure, self.ca, self.trust = rig.secure, None, None
        if self.secure:
            command += ["--listen-tls", "127.0.0.1:0"]
            certs = certs or [([*hosts, "*"], *rig.certificate(self.name, *hosts, "127.0.0.1"))]
            self.ca = certs[0][1]
            self.trust = ssl.create_default_context(cafile=self.ca)
            self.shown(os.path.join(dir_, "certs.json"), certs)
        self.child = rig.child(command, self.name)
        self.logs = os.path.join(dir_, "logs")
        self.plain_port = self.hello(os.path.join(dir_, "router.sock"))
        self.port = self.tls_port() if self.secure else self.plain_port

    @staticmethod
    def shown(path, certs):
        """Writes the certificates as a router keeps them."""
        def text(path):
            with open(path) as f:
                return f.read()
        table = [{"names": names, "chain": text(crt), "key": text(key)} for names, crt, key in certs]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            json.dump({"version": 1, "certs": table}, f)

    def tls_port(self):
        """The port besides the plain one, which the kernel knows."""
        fds = f"/proc/{self.child.pid}/fd"
        inodes = set()
        for fd in os.listdir(fds):
            try:
                inodes.add(os.readlink(os.path.join(fds, fd)))
            except FileNotFoundError:
                pass  # closed since
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f.readlines()[1:]]
        ports = {int(r[1].split(":")[1], 16) for r in rows if r[3] == "0A" and f"socket:[{r[9]}]" in inodes}
        [port] = ports - {self.plain_port}
        return port

    def hello(self, path):
        """The router's own word about where it listens."""
        until = time.monotonic() + PATIENCE
        while True:
            with socket.socket(socket.AF_UNIX) as wire:
                try:
                    wire.connect(path)
                    said = json.loads(wire.makefile().readline())
                    return int(said["listen"][0].rsplit(":", 1)[1])
                except (FileNotFoundError, ConnectionRefusedError) as e:
                    if self.child.poll() is not None or time.monotonic() > until:
                        raise RuntimeError(f"the router did not start: {self.output()}") from e
            time.sleep(0.01)

    def output(self):
        return self.rig.log(self.name)

    def url(self, path="/", host="127.0.0.1", scheme="http"):
        scheme += "s" if self.secure else ""
        return f"{scheme}://{host}:{self.port}{path}"

    def connect(self, timeout=PATIENCE):
        """A connection for HTTP/1.1, in a suite over TLS after its handshake."""
        wire = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.trust.wrap_socket(wire, server_hostname="app.test") if self.secure else wire

    def memory(self):
        """Kilobytes of resident memory."""
        with open(f"/proc/{self.child.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))

    def serves(self, host="app.test"):
        """Another client is served as ever."""
        with self.connect() as wire:
            wire.sendall(f"GET /hello HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            found = read_all(wire)
        if not found.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(f"another client got {found[:200]!r}")


def read_all(wire, seconds=PATIENCE):
    """Everything until the other side closes, resets or is silent for too long."""
    wire.settimeout(seconds)
    found = b""
    try:
        while piece := wire.recv(65536):
            found += piece
    except (ConnectionResetError, TimeoutError):
        pass
    return found


class Recorder:
    """A backend that keeps the raw bytes of each connection and answers each head that it sees by the plainest reading:
    what a router lets through as one request must be one here."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"):
        self.answer, self.seen, self.lock = answer, [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                wire, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(wire,), daemon=True).start()

    def serve(self, wire):
        mine = bytearray()
        with self.lock:
            self.seen.append(mine)
        wire.settimeout(PATIENCE)
        pending = b""
        with wire:
            try:
                while piece := wire.recv(65536):
                    with self.lock:
                        mine += piece
                    pending += piece
                    while (end := whole(pending)) is not None:
                        pending = pending[end:]
                        wire.sendall(self.answer)
            except OSError:
                return

    def take(self):
        """The bytes of all connections since the last time."""
        with self.lock:
            seen = [bytes(s) for s in self.seen if s]
            for s in self.seen:
                s.clear()
        return seen

    def close(self):
        self.listener.close()


def whole(text):
    """Where the first request of the bytes ends, read as RFC 9112 says; `None` when it is not whole."""
    head, found, _ = text.partition(b"\r\n\r\n")
    if not found:
        return None
    at, lines = len(head) + 4, head.lower().split(b"\r\n")[1:]
    if any(line.startswith(b"transfer-encoding:") for line in lines):
        return after_chunks(text, at)
    for line in lines:
        if line.startswith(b"content-length:"):
            end = at + int(line.split(b":", 1)[1])
            return end if len(text) >= end else None
    return at


def after_chunks(text, at):
    size = 1
    while size:
        end = text.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(text[at:end].split(b";")[0], 16)
        at = end + 2 + (size + 2 if size else 0)
    while not text.startswith(b"\r\n", at):
        at = text.find(b"\r\n", at) + 2
        if at < 2:
            return None
    return at + 2
