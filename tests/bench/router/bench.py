"""The router against its peers, side by side: `make bench-router`, or parts of it through ARGS.

    bench.py [--full | --exact] [--only LOAD,...] [--peers NAME,...] [--all] [--rounds N] [--seconds N] [--list]

Without anything: each load that has a goal, against the peers that its goals name, in about six minutes.
--full: all loads, against more peers and in more rounds, about twenty minutes.
--exact: instructions and system calls per request alone, the same on a busy machine.
The goals are for what is shipped: PROFILE=release. The default, `load`, needs about 6 % more instructions.
Prints tables and writes tests/bench/out/router-<time>.json and .svg. Exits 1 when a load could not be run.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import exact
import report
from goals import has_goal, judge, peers_of
from loads import LOADS
from machine import about, more_files
from proxies import KINDS, Backend, Missing

HERE = os.path.dirname(os.path.abspath(__file__))


class Bench:
    """The temporary folder, the backend, and everything that is running."""

    def __init__(self, programs):
        self.programs = os.path.abspath(programs)
        self.hokkud = self.tool("../hokkud")
        self.running = []
        self.files = more_files()
        self.dir = tempfile.mkdtemp(prefix="hokku-router-bench-")
        os.chmod(self.dir, 0o755)
        self.cert, self.key = os.path.join(self.dir, "cert.pem"), os.path.join(self.dir, "key.pem")
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-keyout", self.key, "-out", self.cert, "-days", "2", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=DNS:localhost,DNS:app0.test"], check=True, capture_output=True)
            self.backend = Backend(self)
        except BaseException:
            self.close()
            raise

    def tool(self, name):
        path = os.path.normpath(os.path.join(self.programs, "examples", name))
        if not os.path.exists(path):
            raise SystemExit(f"{path} is not there: `make bench-router` builds it")
        return path

    def close(self):
        for one in reversed(self.running[:]):
            one.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def contenders(load, proxies):
    """(name, proxy, more arguments) of a load; nginx comes twice where its buffering of requests matters."""
    for name, proxy in proxies.items():
        yield name, proxy, {}
        if load.streamed and name == "nginx":
            yield "nginx-streamed", proxy, {"path": "/streamed"}


def start_all(bench, load, kinds, shared):
    """The proxies of a load, and why others do not run it."""
    proxies, reasons = {}, {}
    for kind in kinds:
        try:
            if load.unix and kind.name == "hokku":
                proxy = kind(bench, unix=True)
            elif load.fresh:
                proxy = kind(bench)
            else:
                if (kind.name, load.apps) not in shared:
                    shared[kind.name, load.apps] = kind(bench, apps=load.apps)
                proxy = shared[kind.name, load.apps]
            why = proxy.served(load.needs) if load.needs else None
            if why:
                raise Missing(why)
            proxies[kind.name] = proxy
        except Missing as e:
            reasons[kind.name] = str(e)
        except (RuntimeError, OSError) as e:
            reasons[kind.name] = f"FAILED: {e}"
    return proxies, reasons


def run_load(bench, load, kinds, shared, rounds, seconds):
    """Rounds of a load, the proxies one after the other in each; medians are made later."""
    if load.once:
        result = {}
        for kind in kinds:
            merged, proxies = [], {}
            try:
                proxies, reasons = start_all(bench, load, [kind], shared)
                for proxy in proxies.values():
                    merged.append({"start_mb": proxy.at_start / 1024} | load.run(proxy, seconds))
                result[kind.name] = {"rounds": merged, "why": reasons.get(kind.name, "")}
            except (RuntimeError, OSError) as e:
                result[kind.name] = {"rounds": [], "why": f"FAILED: {e}"}
            finally:
                for proxy in proxies.values():
                    proxy.stop()
        return result
    proxies, reasons = start_all(bench, load, kinds, shared)
    result = {name: {"rounds": [], "why": why} for name, why in reasons.items()}
    ready = list(contenders(load, proxies))
    for name, _, _ in ready:
        result[name] = {"rounds": [], "why": ""}
    try:
        for n in range(0 if load.warm else -1, rounds):
            turn = n % len(ready) if ready else 0
            for name, proxy, more in ready[turn:] + ready[:turn]:
                try:
                    if n < 0:  # the first connections and buffers do not count
                        load.run(proxy, 1, **more)
                        continue
                    if load.warm:
                        load.run(proxy, load.warm, **more)
                    made = load.run(proxy, seconds, **more)
                except (RuntimeError, OSError) as e:
                    result[name] = {"rounds": [], "why": f"FAILED: {e}"}
                    ready = [r for r in ready if r[0] != name]
                    continue
                result[name]["rounds"].append(made | {"memory_mb": proxy.memory() / 1024,
                                                      "start_mb": proxy.at_start / 1024})
    finally:
        for proxy in proxies.values():
            if proxy not in shared.values():
                proxy.stop()
    order = [k.name for k in kinds]
    return {name: result[name] for name in sorted(result, key=lambda n: order.index(n.replace("-streamed", "")))}


def stop_idle(shared, coming):
    """Ends proxies with thousands of apps when no load that comes needs them."""
    for name, apps in list(shared):
        if apps > 1 and apps not in {load.apps for load in coming}:
            shared.pop((name, apps)).stop()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/load", help="where hokkud and the bench's programs were built")
    parser.add_argument("--full", action="store_true", help="all loads")
    parser.add_argument("--exact", action="store_true", help="instructions and system calls only")
    parser.add_argument("--only", help="these loads, by name and comma")
    parser.add_argument("--peers", help="against these, by name and comma; nginx is what ratios are made with")
    parser.add_argument("--all", action="store_true", help="against all peers, nginx as Dokku ships it too")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, default=2, help="length of a round")
    parser.add_argument("--list", action="store_true", help="name the loads and peers")
    args = parser.parse_args()
    if args.list:
        for load in LOADS:
            print(f"{load.name:<14} {load.title}{'' if has_goal(load.name) else ' (not in the quick run)'}")
        print("exact          instructions and system calls per request (--exact: nothing else)")
        print("peers:", ", ".join(name for name in KINDS if name != "hokku"))
        sys.exit()
    names = [load.name for load in LOADS]
    args.loads = [x for x in LOADS if has_goal(x.name) or args.full]
    if args.only:
        unknown = set(args.only.split(",")) - set(names)
        if unknown:
            parser.error(f"no such load: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
        args.loads = [x for x in LOADS if x.name in args.only.split(",")]
    peers = args.peers.split(",") if args.peers is not None else \
        list(KINDS)[1:] if args.all else ["nginx", "haproxy", "caddy"] if args.full else None
    unknown = set(peers or []) - set(KINDS) - {""}
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(list(KINDS)[1:])}")
    args.kinds = {}
    for name in [*names, "exact"]:
        # the goals' own peers come along whatever else is asked for, but not where somebody chose
        wanted = set(peers or []) if args.peers is not None else set(peers or []) | (peers_of(name) or {"nginx"})
        args.kinds[name] = [kind for kind in KINDS.values() if kind.name == "hokku" or kind.name in wanted]
    args.rounds = args.rounds or (5 if args.full else 3)
    return args


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # where Debian keeps servers, also for people who are not root
    os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
    bench = Bench(args.bin)
    results, titles, began, stopped = {}, [], time.time(), False
    try:
        facts = about(bench.hokkud)
        mode = "exact" if args.exact else f"{args.rounds} round{'s' if args.rounds > 1 else ''} of {args.seconds} s"
        print(report.head(facts, mode), flush=True)
        shared = {}
        if not args.exact:
            for load in args.loads:
                kinds = args.kinds[load.name]
                try:
                    results[load.name] = run_load(bench, load, kinds, shared, args.rounds, args.seconds)
                except (RuntimeError, OSError) as e:
                    results[load.name] = {"hokku": {"rounds": [], "why": f"FAILED: {e}"}}
                stop_idle(shared, args.loads[len(titles) + 1:])
                titles.append((load.name, load.title))
                print("\n" + report.load_table(f"{load.name}: {load.title}", results[load.name]), flush=True)
        if args.exact or not args.only:
            kinds = [k for k in args.kinds["exact"] if k.name in ("hokku", "nginx", "haproxy")]
            results["exact"] = exact.measure(bench, kinds)
            print("\n" + report.load_table("exact: 200 B, 16 kept connections", results["exact"]), flush=True)
    except KeyboardInterrupt:
        stopped = True
        print("\nstopped; what was measured until then:")
    finally:
        # a second Ctrl-C must not leave anything behind
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        bench.close()
    rows = judge(results)
    print("\n" + report.goal_table([r for r in rows if r["verdict"] != "not run"]))
    left = sorted({r["load"] for r in rows if r["verdict"] == "not run"})
    if left:
        print(f"  not run this time: {', '.join(left)}")
    facts["load average after"] = [round(x, 2) for x in os.getloadavg()]
    print(f"  {time.time() - began:.0f} s, load average {facts['load average after']} at the end")
    save(facts, mode, results, rows, titles)
    failed = any(p["why"].startswith("FAILED") or "instructions:" in p["why"] or "calls:" in p["why"]
                 for load in results.values() for p in load.values())
    sys.exit(130 if stopped else failed)


def save(facts, mode, results, rows, titles):
    folder = os.path.join(HERE, "..", "out")
    os.makedirs(folder, exist_ok=True)
    base = os.path.normpath(os.path.join(folder, time.strftime("router-%Y-%m-%d-%H%M%S")))
    medians = {load: {p: {f: statistics.median(r[f] for r in v["rounds"] if f in r) for f, _, _ in report.FIGURES
                          if any(f in r for r in v["rounds"])} for p, v in by.items()} for load, by in results.items()}
    with open(base + ".json", "w") as f:
        json.dump({"machine": facts, "mode": mode, "goals": rows, "medians": medians, "loads": results}, f, indent=1)
    picture = report.plot(results, titles)
    if picture:
        with open(base + ".svg", "w") as f:
            f.write(picture)
    print(f"written to {base}.json{' and .svg' if picture else ''}")


if __name__ == "__main__":
    main()
