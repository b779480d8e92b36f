"""A hokkud of the bench's own, and what a person does with it: apps, repositories, pushes, requests."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "apps")


class Host:
    """Starts the agent in a temporary directory; `close` ends everything of it."""

    def __init__(self, programs):
        self.bin = os.path.abspath(programs)
        self.dir = tempfile.mkdtemp(prefix="hokku-bench-")
        self.data = os.path.join(self.dir, "data")
        home = os.path.join(self.dir, "home")
        os.mkdir(home)
        keep = {k: v for k, v in os.environ.items() if "CERT" in k or "CA_BUNDLE" in k or k.lower().endswith("_proxy")}
        self.env = keep | {
            "PATH": f"{self.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "HOKKU_SOCKET": os.path.join(self.data, "run/hokkud.sock"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }
        for who in ("AUTHOR", "COMMITTER"):
            self.env[f"GIT_{who}_NAME"], self.env[f"GIT_{who}_EMAIL"] = "bench", "bench@localhost"
        log = open(os.path.join(self.dir, "hokkud.log"), "w")
        self.agent = subprocess.Popen(
            [os.path.join(self.bin, "hokkud"), "serve", "--data-dir", self.data, "--api-listen", "127.0.0.1:0",
             "--router-listen", "127.0.0.1:0", "--apps-domain", "localhost"],
            env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        address = os.path.join(self.data, "run/router.addr")
        deadline = time.monotonic() + 20
        while not (os.path.exists(address) and open(address).read().strip()):
            if self.agent.poll() is not None or time.monotonic() > deadline:
                text = open(log.name).read()
                self.close()
                raise SystemExit(f"hokkud did not come up:\n{text}")
            time.sleep(0.02)
        host, port = open(address).read().strip().rsplit(":", 1)
        self.router = (host, int(port))

    def close(self):
        subprocess.run([os.path.join(self.bin, "hokkud"), "stop-all", "--data-dir", self.data],
                       env=self.env, check=False)
        if self.agent.poll() is None:
            self.agent.send_signal(signal.SIGTERM)
            self.agent.wait(10)
        subprocess.run(["find", self.dir, "-type", "d", "!", "-perm", "-700", "-exec", "chmod", "u+rwx", "{}", ";"],
                       stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args, cwd=None):
        """A command that has to succeed; its output."""
        done = subprocess.run(args, env=self.env, cwd=cwd or self.env["HOME"], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(args)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def app(self, *args):
        return self.run("app", *args)

    def create(self, name, fill):
        """An app and its repository; `fill(folder)` puts the source there."""
        repo = os.path.join(self.dir, "repos", name)
        os.makedirs(repo)
        fill(repo)
        self.run("git", "init", "-q", "-b", "main", cwd=repo)
        self.run("app", "create", name, cwd=repo)
        return repo

    def sample(self, name, sample):
        return self.create(name, lambda to: shutil.copytree(os.path.join(SAMPLES, sample), to, dirs_exist_ok=True))

    def probe(self, name):
        def fill(to):
            shutil.copy(os.path.join(self.bin, "probe"), os.path.join(to, "probe"))
            subprocess.run(["strip", os.path.join(to, "probe")], check=False, stderr=subprocess.DEVNULL)
            write(to, "Procfile", "web: ./probe\n")
            write(to, "version", "0")
        return self.create(name, fill)

    def commit(self, repo, message="change"):
        self.run("git", "add", "-A", cwd=repo)
        self.run("git", "commit", "-q", "-m", message, cwd=repo)

    def push(self, repo):
        return self.run("git", "push", "hokku", "main", cwd=repo)

    def get(self, app, path="/"):
        """Status and body of one request through the router; (0, reason) when there is no answer."""
        try:
            c = http.client.HTTPConnection(*self.router, timeout=20)
            c.request("GET", path, headers={"Host": f"{app}.localhost", "Connection": "close"})
            r = c.getresponse()
            return r.status, r.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as e:
            return 0, repr(e)

    def time_until(self, app, wanted, act):
        """Starts `act` in a thread and asks the app until it answers with `wanted`.

        Gives (seconds to the first such answer, seconds until act returned, what act gave)."""
        result = {}

        def work():
            try:
                result["gave"] = act()
            except Exception as e:  # told below, with the time
                result["error"] = e
            result["returned"] = time.monotonic()

        start = time.monotonic()
        thread = threading.Thread(target=work)
        thread.start()
        first = None
        while first is None and time.monotonic() - start < 120 and "error" not in result:
            status, body = self.get(app)
            if status == 200 and wanted in body:
                first = time.monotonic() - start
            else:
                time.sleep(0.004)
        thread.join()
        if "error" in result:
            raise result["error"]
        if first is None:
            raise RuntimeError(f"{app} never answered {wanted!r}")
        return first, result["returned"] - start, result["gave"]

    def processes(self):
        """(pid, name) of everything that belongs to this host: agent, router, shims."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace")
                program = os.path.basename(command.split(" ")[0])
                environ = open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace")
                folder = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                continue
            if not any(self.dir in t for t in (command, environ, folder)) and self.dir not in mounts(pid):
                continue
            if program == "hokkud":
                found.append((int(pid), "router" if "hokkud router" in command else "agent"))
            elif program == "hokku-shim":
                found.append((int(pid), "shim"))
        return found


def mounts(pid):
    try:
        return open(f"/proc/{pid}/mountinfo").read()
    except OSError:
        return ""


def write(folder, name, text):
    with open(os.path.join(folder, name), "w") as f:
        f.write(text)


def phases(output):
    """The shares of a push by its own timing line: `-----> checkout 0.01 s, …; 0.52 s in all`."""
    for line in output.splitlines():
        if " s in all" in line:
            return {name.strip(): float(seconds) for name, seconds in re.findall(r"([a-z][a-z -]*?) (\d+\.\d+) s", line)}
    return {}
