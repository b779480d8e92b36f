"""Figures without noise: user instructions (callgrind) and system calls (strace) per small request."""

import os
import re
import shutil
import signal
import subprocess
import time

from loads import headers
from machine import end, start, tree
from proxies import Missing

CONNECTIONS = 16
SHORT, LONG = 1000, 4000
CALLS = 20000


def ask(proxy, count):
    """Exactly so many small requests over 16 kept connections."""
    command = ["h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"-n{count}"]
    for name, value in headers("identity").items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, f"http://localhost:{proxy.port}/small"], capture_output=True, text=True, check=False,
                          start_new_session=True, timeout=300)
    if f"{count} 2xx" not in done.stdout:
        raise RuntimeError(f"not all of {count} requests were answered: {done.stdout[-400:]}{done.stderr[-200:]}")


def instructions(bench, kind):
    """The difference of two run lengths, so that start and end do not count; one thread."""
    found = []
    for count in (SHORT, LONG):
        out = os.path.join(bench.dir, f"callgrind-{kind.name}-{count}")
        proxy = kind(bench, threads=1, under=("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
                                              "--fair-sched=yes"))
        try:
            ask(proxy, count)
            proxy.child.terminate()
            try:
                proxy.child.wait(60)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"{kind.name} under callgrind did not end within 60 s of SIGTERM") from None
            with open(out) as f:
                text = f.read()
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
            found.append(int(total[1]))
        finally:
            proxy.stop()
    return (found[1] - found[0]) / (LONG - SHORT)


def calls(bench, kind):
    """Every system call of all threads over a counted number of requests; waits apart."""
    proxy = kind(bench)
    out = os.path.join(bench.dir, f"strace-{kind.name}")
    try:
        ask(proxy, 2000)
        command = ["strace", "-f", "-c", "-o", out]
        for pid in tree(proxy.child.pid):
            command += ["-p", str(pid)]
        said = os.path.join(bench.dir, f"strace-{kind.name}.log")
        strace = start(command, said)
        try:
            deadline = time.monotonic() + 10
            while not attached(tree(proxy.child.pid)):
                if strace.poll() is not None or time.monotonic() > deadline:
                    with open(said) as f:
                        raise Missing(f"strace can't attach here: {f.read().strip()[-300:]}")
                time.sleep(0.02)
            ask(proxy, CALLS)
            strace.send_signal(signal.SIGINT)
            strace.wait(20)
        finally:
            end(strace)
        by = {}
        with open(out) as f:
            for line in f:
                row = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
                if row and row[2] != "total":
                    by[row[2]] = int(row[1]) / CALLS
        waits = sum(by.pop(name, 0) for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2"))
        return sum(by.values()), waits, {n: round(c, 3) for n, c in sorted(by.items(), key=lambda x: -x[1]) if c >= 0.005}
    finally:
        proxy.stop()


def attached(pids):
    """Is every thread traced?"""
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status") as f:
                if re.search(r"^TracerPid:\s+0$", f.read(), re.M):
                    return False
    return True


def measure(bench, kinds):
    """The load `exact` of the results."""
    made = {}
    for kind in kinds:
        row, why = {}, []
        print(f"  exact: {kind.name}", flush=True)
        for program, work in (("valgrind", "instructions"), ("strace", "calls")):
            try:
                if not shutil.which(program):
                    raise Missing(f"{program} is not installed")
                if work == "instructions":
                    row["instructions"] = instructions(bench, kind)
                else:
                    row["calls"], row["waits"], row["by"] = calls(bench, kind)
            except (RuntimeError, OSError, Missing, subprocess.TimeoutExpired) as e:
                why.append(f"{work}: {e}")
        made[kind.name] = {"rounds": [row] if row else [], "why": "; ".join(why)}
    return made
