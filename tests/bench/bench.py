"""What the platform costs and how fast it is, measured from outside: `make bench`, or parts by name.

    bench.py --bin target/load [--runs 10] [--apps 50] [part ...]

Parts: static node flask rollback crash load rest many. Each starts a hokkud of its own on loopback ports that are free.
Prints a table and writes tests/bench/out/<time>.json.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time

from host import Host, phases, write
from load import Load

FILES = {"static": "index.html", "node": "index.js", "flask": "hello.py"}
AIMS = {"static": 0.4, "node": 1.0, "flask": 1.5}
OWN_PHASES_NOT = {"boot"}


def change(repo, sample, n):
    """One line of the source says another version."""
    path = os.path.join(repo, FILES[sample])
    text = open(path).read()
    old = "version one" if n == 1 else f"version {n - 1}."
    if old not in text:
        raise RuntimeError(f"{path} does not say {old!r}")
    write(repo, FILES[sample], text.replace(old, f"version {n}."))


def redeploys(host, name, sample, repo, runs, first=1):
    """Times of so many redeploys of a one-line change."""
    firsts, returned, shares = [], [], []
    for n in range(first, first + runs):
        change(repo, sample, n)
        host.commit(repo)
        to_answer, to_return, output = host.time_until(name, f"version {n}.", lambda: host.push(repo))
        firsts.append(to_answer)
        returned.append(to_return)
        shares.append(phases(output))
    return firsts, returned, shares


def median(values):
    return round(statistics.median(values), 3)


def redeploy(args, sample):
    host = Host(args.bin)
    try:
        repo = host.sample(sample, sample)
        host.commit(repo)
        start = time.monotonic()
        host.push(repo)
        first_push = time.monotonic() - start
        firsts, returned, shares = redeploys(host, sample, sample, repo, args.runs)
        names = list(dict.fromkeys(n for s in shares for n in s))
        share = {n: median([s.get(n, 0.0) for s in shares]) for n in names}
        return {
            "first push, s": round(first_push, 2),
            "redeploy to first answer, median s": median(firsts),
            "redeploy to first answer, all s": [round(f, 3) for f in firsts],
            "push returned, median s": median(returned),
            "phases, median s": share,
            "platform's own part, median s": median(
                [t - sum(v for n, v in s.items() if n in OWN_PHASES_NOT) for t, s in zip(firsts, shares)]),
            "aim, s": AIMS[sample],
        }
    finally:
        host.close()


def rollback(args):
    """Command start to the first answer of the other version, back and forth."""
    host = Host(args.bin)
    try:
        repo = host.sample("flask", "flask")
        host.commit(repo)
        host.push(repo)
        change(repo, "flask", 1)
        host.commit(repo)
        host.push(repo)
        times = []
        for n in range(args.runs):
            wanted = "version one" if n % 2 == 0 else "version 1."
            first, _, _ = host.time_until("flask", wanted, lambda: host.app("rollback", "-a", "flask"))
            times.append(first)
        return {"rollback to first answer, median s": median(times), "all s": [round(t, 3) for t in times],
                "aim": "0.5 s plus the app's boot"}
    finally:
        host.close()


def crash(args):
    """SIGKILL to an app's process until a new dyno answers; each of several apps once, so that no back-off counts."""
    host = Host(args.bin)
    try:
        times = []
        for n in range(args.runs):
            repo = host.probe(f"app{n}")
            host.commit(repo)
            host.push(repo)
            port = json.loads(host.get(f"app{n}")[1])["port"]
            pid = next(p for p in filter(str.isdigit, os.listdir("/proc")) if f"PORT={port}" in environment(p))
            start = time.monotonic()
            os.kill(int(pid), signal.SIGKILL)
            while True:
                status, body = host.get(f"app{n}")
                if status == 200 and json.loads(body)["port"] != port:
                    break
                time.sleep(0.001)
            times.append(time.monotonic() - start)
        return {"killed to first answer, median ms": round(median(times) * 1000), "all ms": [round(t * 1000) for t in times],
                "aim": "50 ms plus the app's start"}
    finally:
        host.close()


def environment(pid):
    try:
        return open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace").split("\0")
    except OSError:
        return []


def load(args):
    """500 requests/s while everything is changed."""
    host = Host(args.bin)
    try:
        repo = host.probe("shop")
        host.commit(repo)
        host.push(repo)
        run = Load(host.router, "shop.localhost", 500, 32)
        run.start()
        time.sleep(2)
        done = dict.fromkeys(("redeploys", "rollbacks", "scalings", "restarts", "config changes"), 0)
        for n in range(1, 21):
            write(repo, "version", str(n))
            host.commit(repo)
            host.push(repo)
            done["redeploys"] += 1
            if n % 4 == 0:
                host.app("rollback", "-a", "shop")
                done["rollbacks"] += 1
                host.app("ps:scale", f"web={2 if n % 8 else 1}", "-a", "shop")
                done["scalings"] += 1
                host.app("ps:restart", "-a", "shop")
                done["restarts"] += 1
                host.app("config:set", f"N={n}", "-a", "shop")
                done["config changes"] += 1
        time.sleep(2)
        return done | run.finish()
    finally:
        host.close()


def pss(pid):
    """Kilobytes of proportional set size."""
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def cpu(pids):
    """Seconds of CPU that these processes have used, by their own clocks (clock_getcpuclockid(3)): ticks are too coarse."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def memory(host):
    by = {}
    for pid, name in host.processes():
        by.setdefault(name, []).append(pss(pid))
    shims = by.get("shim", [])
    return {
        "hokkud, MB": round(sum(by.get("agent", [])) / 1024, 2),
        "router, MB": round(sum(by.get("router", [])) / 1024, 2),
        "hokkud and router, MB": round((sum(by.get("agent", [])) + sum(by.get("router", []))) / 1024, 2),
        "shims": len(shims),
        "per shim, MB": round(sum(shims) / 1024 / max(1, len(shims)), 3),
    }


def rest(args):
    """PSS with 1 and 50 dynos, CPU at rest."""
    host = Host(args.bin)
    try:
        repo = host.probe("shop")
        host.commit(repo)
        host.push(repo)
        time.sleep(3)
        one = memory(host)
        host.app("ps:scale", f"web={args.apps}", "-a", "shop")
        deadline = time.monotonic() + 120
        while sum(d["state"] == "up" for d in json.loads(host.app("ps", "--json", "-a", "shop"))) < args.apps:
            if time.monotonic() > deadline:
                raise RuntimeError("the dynos are not up")
            time.sleep(0.2)
        time.sleep(5)
        many = memory(host)
        pids = [pid for pid, _ in host.processes()]
        before, start = cpu(pids), time.monotonic()
        time.sleep(args.rest)
        used = cpu(pids) - before
        return {
            "with 1 dyno": one,
            f"with {args.apps} dynos": many,
            f"CPU over {args.rest} s of all, % of a core": round(100 * used / (time.monotonic() - start), 4),
            "aim": "under 25 MB together, under 1.5 MB per shim, under 0.2 % of a core",
        }
    finally:
        host.close()


def many(args):
    """Redeploy time of a static page with 50 apps on the host against 1."""
    host = Host(args.bin)
    try:
        repo = host.sample("static", "static")
        host.commit(repo)
        host.push(repo)
        alone, _, _ = redeploys(host, "static", "static", repo, args.runs)
        for n in range(2, args.apps + 1):
            other = host.sample(f"app{n}", "static")
            host.commit(other)
            host.push(other)
        among, _, _ = redeploys(host, "static", "static", repo, args.runs, first=args.runs + 1)
        return {"with 1 app, median s": median(alone), f"with {args.apps} apps, median s": median(among),
                "ratio": round(median(among) / median(alone), 2), "aim": "no more than 1.2"}
    finally:
        host.close()


PARTS = {
    "static": lambda a: redeploy(a, "static"),
    "node": lambda a: redeploy(a, "node"),
    "flask": lambda a: redeploy(a, "flask"),
    "rollback": rollback,
    "crash": crash,
    "load": load,
    "rest": rest,
    "many": many,
}


def show(result, indent="  "):
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{indent}{name}:")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name:<44} {value}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/load")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--apps", type=int, default=50)
    parser.add_argument("--rest", type=int, default=60, help="seconds of idle CPU")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="which parts; all when none is named")
    args = parser.parse_args()
    out = {"machine": {"cores": os.cpu_count(), "kernel": platform.release(), "user": os.geteuid()}, "parts": {}}
    failed = False
    for part in args.parts or PARTS:
        print(f"\n{part}: {PARTS[part].__doc__ or 'redeploy of a one-line change'}", flush=True)
        try:
            out["parts"][part] = PARTS[part](args)
            show(out["parts"][part])
        except (RuntimeError, OSError, SystemExit) as e:
            failed = True
            out["parts"][part] = {"error": str(e)}
            print(f"  FAILED: {e}")
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "out")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, time.strftime("%Y-%m-%d-%H%M%S") + ".json")
    with open(path, "w") as f:
        json.dump(out, f, indent=1)
    print(f"\nwritten to {path}")
    sys.exit(failed)


main()
