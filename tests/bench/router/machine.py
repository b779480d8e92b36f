"""What is asked of the kernel: process trees, their CPU, memory and ports; and children that never outlive the bench."""

import ctypes
import os
import platform
import random
import re
import resource
import signal
import socket
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def start(command, log, **more):
    """A child in a session of its own (Ctrl-C is not for it) that is told to end should the bench be killed."""
    def told():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    with open(log, "ab") as out:
        return subprocess.Popen(command, stdin=more.pop("stdin", subprocess.DEVNULL), stdout=more.pop("stdout", out),
                                stderr=out, start_new_session=True, preexec_fn=told, **more)


def end(child, seconds=5):
    """SIGTERM, then SIGKILL for the whole session."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def tree(pid):
    """A process and all that descend from it."""
    found, left = [], [pid]
    while left:
        at = left.pop()
        found.append(at)
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{task}/children") as f:
                    left += [int(p) for p in f.read().split()]
        except OSError:
            continue
    return found


def cpu(pids):
    """Seconds of CPU of all threads, ended ones too, by the processes' own clocks (clock_getcpuclockid(3))."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def memory(pids, what="Pss"):
    """Kilobytes of proportional (`Pss`) or whole (`Rss`) set size."""
    sum_ = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                sum_ += next(int(line.split()[1]) for line in f if line.startswith(what + ":"))
        except (OSError, StopIteration):
            continue
    return sum_


def free_port():
    """A port nobody listens on, below those that the kernel gives to outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first = int(f.read().split()[0])
    for _ in range(200):
        port = random.randrange(max(1025, first - 12000), first)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port below the outgoing ones was found in 200 tries")


def answers(port, host="localhost", path="/small", timeout=5):
    """The status of one request, 0 when there is no answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            found = re.match(rb"HTTP/1\.1 (\d+)", s.recv(4096))
            return int(found[1]) if found else 0
    except OSError:
        return 0


def until_answers(port, child, log, seconds=60):
    """Waits for a proxy to be ready."""
    deadline = time.monotonic() + seconds
    while answers(port) != 200:
        if child.poll() is not None or time.monotonic() > deadline:
            with open(log, errors="replace") as f:
                said = f.read()[-2000:]
            raise RuntimeError(f"{child.args[0]} does not answer on port {port}"
                               f" ({'it runs' if child.poll() is None else 'it ended'}); it said:\n{said}")
        time.sleep(0.02)


def more_files():
    """As many open files as may be had; thousands of apps are thousands of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (131072, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
            return wanted
        except (ValueError, OSError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def version(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return "not installed"
    found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)
    return found[0] if found else "?"


def about(hokkud):
    """The machine and the versions, for the head of the table."""
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return {
        "cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
        "load average before": [round(x, 2) for x in os.getloadavg()],
        "router": f"{hokkud} ({os.path.basename(os.path.dirname(os.path.abspath(hokkud)))} profile)",
        "versions": {"hokkud": version(hokkud, "--version"), "nginx": version("nginx", "-v"),
                     "haproxy": version("haproxy", "-v"), "caddy": version("caddy", "version"),
                     "wrk": version("wrk", "--version"), "h2load": version("h2load", "--version"),
                     "openssl": version("openssl", "version")},
    }
