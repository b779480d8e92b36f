"""How exactly cron starts: the drift of a thousand entries, from their time to their process.

    cron.py --bin target/load [--entries 1000] [--minutes 3]

Two loads on an agent of the bench's own. `minute`: entries as people write them, spread over the minutes of the hour, so
that a sixtieth of them is due at each full minute. `second`: the same number, each once a minute, a sixtieth every second.
The time is the schedule's; the process's is that of its shim's last step before it. Prints percentiles.
"""

import argparse
import json
import os
import signal
import sys
import time

from host import Host, write


def percentile(sorted_values, p):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * p / 100))]


def load(args, name):
    host = Host(args.bin)
    try:
        def schedule(i):
            return f"{i % 60} * * * *" if name == "minute" else f"{i % 60} * * * * *"

        def fill(to):
            cron = [{"name": f"e{i}", "schedule": schedule(i), "command": "true"} for i in range(args.entries)]
            write(to, "app.json", json.dumps({"cron": cron}))
            write(to, "Procfile", "worker: sleep 100000\n")

        repo = host.create("shop", fill)
        host.commit(repo)
        host.push(repo)
        time.sleep(args.minutes * 60)
        host.app("cron:pause", "-a", "shop")
        time.sleep(2)
        runs = json.loads(host.run("app", "cron:history", "-n", "2000", "--json", "-a", "shop"))
        runs = [r for r in runs if r["trigger"] == "schedule"]
        late = sorted(r["late_ms"] for r in runs if r["late_ms"] is not None)
        seen = {}
        for r in runs:
            seen[(r["entry"], r["tick"])] = seen.get((r["entry"], r["tick"]), 0) + 1
        return {
            "load": name, "entries": args.entries, "runs": len(runs), "doubled": sum(1 for n in seen.values() if n > 1),
            "not succeeded": sum(1 for r in runs if r["status"] != "succeeded"),
            **{f"p{p}": percentile(late, p) for p in (50, 90, 99)}, "most": late[-1],
            "within 100 ms": f"{100 * sum(1 for v in late if v <= 100) / len(late):.1f} %",
        }
    finally:
        host.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--entries", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("load", nargs="*", default=["minute", "second"])
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; milliseconds from the time to the process")
    for name in args.load:
        print(json.dumps(load(args, name)), flush=True)


if __name__ == "__main__":
    main()
