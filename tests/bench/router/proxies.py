"""The router and its peers, each as a person would run it: two workers or threads, kept connections to the app, access
log to a file, X-Forwarded-* set, gzip at its default level."""

import http.client
import json
import os
import signal
import socket
import subprocess
import uuid

from machine import cpu, end, free_port, memory, start, tree, until_answers

APP = "127.0.0.1"


def address(n):
    """Each app has an address of its own on loopback, so that connections to apps are not shared."""
    return f"127.{1 + (n >> 16)}.{(n >> 8) & 255}.{(n & 255) or 1}" if n else APP


class Missing(Exception):
    """What this proxy, or this build of the router, cannot do."""


class Proxy:
    """One running proxy. `apps` hosts `app0.test` … lead to the backend; `localhost` leads to the first."""

    name = ""
    program = ""
    can = {"h2", "tls"}
    patience = 60  # seconds to its first answer; thousands of apps take a while to read

    def __init__(self, bench, apps=1, threads=2, under=()):
        self.bench, self.apps, self.threads = bench, apps, threads
        self.dir = os.path.join(bench.dir, f"{self.name}-{uuid.uuid4().hex[:6]}")
        os.mkdir(self.dir, 0o755)
        self.port, self.h2_port, self.tls_port = free_port(), free_port(), free_port()
        self.target = APP
        self.out = os.path.join(self.dir, "out.log")
        self.configure()
        self.child = start([*under, *self.command()], self.out, cwd=self.dir)
        bench.running.append(self)
        try:
            until_answers(self.port, self.child, self.out, self.patience)
        except BaseException:
            self.stop()
            raise
        self.pids = tree(self.child.pid)
        self.at_start, self.rss_at_start = memory(self.pids), memory(self.pids, "Rss")

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)

    def cpu(self):
        return cpu(self.pids)

    def memory(self, what="Pss"):
        self.pids = tree(self.child.pid)
        return memory(self.pids, what)

    def forget_log(self):
        """The access log of a round is not kept: it would fill the disk."""
        for folder, _, files in os.walk(self.dir):
            for file in files:
                if file.endswith((".log", ".log.1")):
                    os.truncate(os.path.join(folder, file), 0)

    def stop(self):
        end(self.child)
        if self in self.bench.running:
            self.bench.running.remove(self)

    def served(self, feature):
        """Why a load that needs `feature` can't be run; `None` when it can."""
        return None if feature in self.can else f"{self.name} is not set up for it"


class Hokku(Proxy):
    """The product's own router from its route snapshot, as the agent starts it."""

    name = "hokku"
    can = set()

    def __init__(self, bench, apps=1, threads=2, under=(), unix=False):
        self.unix, self.wire, self.version, self.certified = unix, None, 1, False
        super().__init__(bench, apps, threads, under)

    def table(self):
        def app(n):
            where = f"unix:{self.bench.backend.unix}" if self.unix else \
                f"{self.target if n == 0 else address(n)}:{self.bench.backend.port}"
            return {"name": f"app{n}", "hosts": [f"app{n}.test"] + (["localhost"] if n == 0 else []), "release": 1,
                    "state": "running",
                    "targets": [{"dyno": str(uuid.UUID(int=n + 1 + (self.version << 64))), "name": "web.1",
                                 "addr": where}]}
        return {"version": self.version, "apps": {str(uuid.UUID(int=n + 1)): app(n) for n in range(self.apps)}}

    def configure(self):
        os.mkdir(self.path("logs"))
        self.write("routes.json", json.dumps(self.table()))
        self.tls = "--listen-tls" in subprocess.run([self.bench.hokkud, "router", "--help"], capture_output=True,
                                                    text=True, check=False).stdout

    def command(self):
        return [self.bench.hokkud, "router", "--dir", self.dir, "--listen", f"127.0.0.1:{self.port}",
                "--threads", str(self.threads)] + (["--listen-tls", f"127.0.0.1:{self.tls_port}"] if self.tls else [])

    def order(self, order, answer):
        """Sends an order over the control socket and waits for its report."""
        if not self.wire:
            self.wire = socket.socket(socket.AF_UNIX)
            self.wire.settimeout(10)
            self.wire.connect(self.path("router.sock"))
            self.reports = self.wire.makefile("r")
            self.reports.readline()
        self.wire.sendall(json.dumps(order).encode() + b"\n")
        for line in self.reports:
            report = json.loads(line)
            if report["is"] == answer:
                return report
        raise RuntimeError(f"the router closed its control socket on the order {order['do']!r}")

    def served(self, feature):
        if feature == "tls":
            if not self.tls:
                return "not available in this build: `hokkud router` has no --listen-tls"
            if not self.certified:
                with open(self.bench.cert) as chain, open(self.bench.key) as key:
                    cert = {"names": ["localhost", "app0.test"], "chain": chain.read(), "key": key.read()}
                report = self.order({"do": "certs", "certs": {"version": 1, "certs": [cert]}}, "certs-applied")
                if report["refused"]:
                    raise RuntimeError(f"the router refused the bench's certificate: {report['refused']}")
                self.certified = True
        if feature == "h2":
            self.h2_port = self.port
            done = subprocess.run(["h2load", "-n1", f"http://localhost:{self.port}/small"], capture_output=True,
                                  text=True, check=False)
            if "1 2xx" not in done.stdout:
                return "not available in this build: no HTTP/2 with prior knowledge"
        return None

    def swap(self, to):
        self.target, self.version = to, self.version + 1
        self.order({"do": "table", "table": self.table()}, "applied")


class Nginx(Proxy):
    """Tuned: kept connections to the app, buffered log."""

    name = "nginx"
    dokku = False

    def server(self, n):
        listen = f"listen 127.0.0.1:{self.port};"
        if n == 0:
            listen += (f" listen 127.0.0.1:{self.h2_port} http2; listen 127.0.0.1:{self.tls_port} ssl http2;"
                       f" ssl_certificate {self.bench.cert}; ssl_certificate_key {self.bench.key};")
        names = f"app{n}.test" + (" localhost" if n == 0 else "")
        return f"server {{ {listen} server_name {names}; " + "".join(
            f"location {path} {{ proxy_pass http://app{n};{more} }} " for path, more in
            [("/", ""), ("= /streamed", " proxy_request_buffering off;")]) + "}\n"

    def configure(self):
        user = "user root;" if os.geteuid() == 0 else ""
        self.write("nginx.conf", f"""{user} daemon off; worker_processes {self.threads}; pid {self.dir}/pid;
            master_process {'on' if self.threads > 1 else 'off'};
            worker_rlimit_nofile {self.bench.files}; error_log {self.dir}/error.log;
            events {{ worker_connections {self.bench.files // 2}; }}
            http {{
            access_log {self.dir}/access.log combined{'' if self.dokku else ' buffer=64k flush=1s'};
            {' '.join(f'{t}_temp_path {self.dir}/{t};' for t in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))}
            client_max_body_size 0; keepalive_timeout 95s; keepalive_requests 1000000000; sendfile on; tcp_nodelay on;
            server_names_hash_max_size 65536; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:ssl:10m;
            gzip on; gzip_types text/css application/javascript application/json text/plain text/xml;
            {'gzip_comp_level 6; gzip_min_length 1100; gzip_buffers 4 32k; gzip_vary on;' if self.dokku else ''}
            map $http_upgrade $connection_up {{ default upgrade; '' {'close' if self.dokku else "''"}; }}
            proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_up;
            proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Proto $scheme;
            proxy_read_timeout 300s;
            """ + "".join(
                f"upstream app{n} {{ server {self.target if n == 0 else address(n)}:{self.bench.backend.port};"
                + ("" if self.dokku else f" keepalive {4 if n else 128}; keepalive_requests 1000000000;") + " }\n" + self.server(n)
                for n in range(self.apps)) + "}\n")

    def command(self):
        return ["nginx", "-p", self.dir, "-c", self.path("nginx.conf"), "-e", self.path("error.log")]

    def swap(self, to):
        self.target = to
        self.configure()
        self.child.send_signal(signal.SIGHUP)


class NginxDokku(Nginx):
    """Dokku's template: gzip 6, log not buffered, a new connection to the app for each request."""

    name = "nginx-dokku"
    dokku = True


class Haproxy(Proxy):
    name = "haproxy"

    def configure(self):
        with open(self.bench.cert) as cert, open(self.bench.key) as key:
            self.write("pair.pem", cert.read() + key.read())
        self.write("hosts.map", "localhost app0\n" + "".join(f"app{n}.test app{n}\n" for n in range(self.apps)))
        most = self.bench.files // 5
        self.write("haproxy.cfg", f"""
global
    nbthread {self.threads}
    maxconn {most}
    log stdout format raw local0
    stats socket {self.dir}/admin.sock mode 600 level admin
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    log global
    option httplog
    option http-keep-alive
    http-reuse always
    timeout client 95s
    timeout server 60s
    timeout connect 5s
    timeout tunnel 1h
    maxconn {most}
    compression algo gzip
    compression type text/html text/css application/javascript application/json text/plain text/xml
frontend web
    bind 127.0.0.1:{self.port}
    bind 127.0.0.1:{self.h2_port} proto h2
    bind 127.0.0.1:{self.tls_port} ssl crt {self.dir}/pair.pem alpn h2,http/1.1
    option forwardfor
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    http-request set-header X-Forwarded-Port %[dst_port]
    use_backend %[req.hdr(host),field(1,:),lower,map({self.dir}/hosts.map,app0)]
""" + "".join(f"backend app{n}\n    server one {address(n)}:{self.bench.backend.port}\n" for n in range(self.apps)))

    def command(self):
        return ["haproxy", "-db", "-f", self.path("haproxy.cfg")]

    def swap(self, to):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path("admin.sock"))
            s.sendall(f"set server app0/one addr {to} port {self.bench.backend.port}\n".encode())
            s.recv(4096)


class UnixHttp(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Caddy(Proxy):
    name = "caddy"

    def text(self):
        def site(n):
            names = [f"http://app{n}.test:{self.port}"]
            if n == 0:
                names += [f"http://localhost:{p}" for p in (self.port, self.h2_port)]
            where = f"{self.target if n == 0 else address(n)}:{self.bench.backend.port}"
            body = (f"{{\n log {{\n output file {self.dir}/access.log {{\n roll_disabled\n }}\n }}\n encode gzip\n"
                    f" reverse_proxy {where} {{\n flush_interval -1\n }}\n")
            text = f"{', '.join(names)} {body}}}\n"
            if n == 0:
                text += f"https://localhost:{self.tls_port} {body} tls {self.bench.cert} {self.bench.key}\n}}\n"
            return text
        return (f"{{\n admin unix/{self.dir}/admin.sock\n auto_https off\n"
                " servers {\n protocols h1 h2 h2c\n }\n}\n" + "".join(site(n) for n in range(self.apps)))

    def configure(self):
        if self.apps > 1000:
            raise Missing("left out: a site block each costs Caddy milliseconds per request at 10,000 apps")
        self.write("Caddyfile", self.text())

    def command(self):
        return ["env", f"GOMAXPROCS={self.threads}", f"HOME={self.dir}", "caddy", "run", "--config",
                self.path("Caddyfile"), "--adapter", "caddyfile"]

    def swap(self, to):
        self.target = to
        c = UnixHttp(self.path("admin.sock"))
        # on a Unix socket the admin interface allows no Host but the empty one
        c.request("POST", "/load", self.text(), {"Content-Type": "text/caddyfile", "Host": ""})
        answer = c.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"Caddy refused its new configuration: {answer.read()[:300]}")


KINDS = {kind.name: kind for kind in (Hokku, Nginx, NginxDokku, Haproxy, Caddy)}


class Backend:
    """The app behind all of them, on all of loopback and on a Unix socket."""

    def __init__(self, bench):
        self.unix = os.path.join(bench.dir, "app.sock")
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # bound to the loopback device: all of 127/8, and nobody from outside
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            s.bind(("0.0.0.0", 0))
            s.listen(4096)
            self.port = s.getsockname()[1]
            self.log = os.path.join(bench.dir, "backend.log")
            self.child = start([bench.tool("bench-backend"), str(s.fileno()), self.unix], self.log,
                               pass_fds=[s.fileno()])
        bench.running.append(self)
        until_answers(self.port, self.child, self.log)

    def stop(self):
        end(self.child)
