#!/usr/bin/env python3
"""The router, asked by programs that no one here wrote. Each suite starts `hokkud router` and backends of its own.

conform.py --bin FOLDER [--long] [--only SUITE,…] [--skip SUITE,…] [--list]

A suite that can't run fails by name. Exit status 1 when a case failed that is not in `deviations.py`, or when one that is
there has come right.
"""

import argparse
import importlib
import os
import sys
import time
import traceback
from concurrent import futures

import deviations
import tools

HERE = os.path.dirname(os.path.abspath(__file__))
# In the order of the report; each is a module of `suites`. What ends with /tls asks the same over TLS.
SUITES = ["smuggling", "curl", "curl/tls", "h2", "flood", "nghttp2", "python", "python/tls", "node", "node/tls", "java",
          "golang", "websocket", "websocket/tls", "autobahn", "grpc", "browser", "browser/tls", "openssl/tls", "balancer",
          "balancer/tls", "smuggling/tls", "slow"]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", default="target/debug", help="folder with hokkud")
    parser.add_argument("--long", action="store_true", help="the cases that take minutes too")
    parser.add_argument("--only", default="", help="these suites, with commas between them")
    parser.add_argument("--skip", default="", help="all but these")
    parser.add_argument("--list", action="store_true", help="name the suites and end")
    return parser.parse_args()


def chosen(args):
    only, skip = ([s for s in text.split(",") if s] for text in (args.only, args.skip))
    unknown = [s for s in only + skip if s not in SUITES]
    if unknown:
        sys.exit(f"There is no suite {', '.join(unknown)}; there are: {' '.join(SUITES)}")
    return [s for s in SUITES if (not only or s in only) and s not in skip]


def main():
    args = options()
    if args.list:
        print("\n".join(SUITES))
        return 0
    names = chosen(args)
    tools.enter_environment(os.path.join(HERE, "requirements.txt"))
    import rig

    hokkud = os.path.abspath(os.path.join(args.bin, "hokkud"))
    if not os.access(hokkud, os.X_OK):
        sys.exit(f"{hokkud} is not there. Build it: cargo build -p hokku-agent --bin hokkud")
    lines, bad = [], 0
    # what takes long to be made for the first time is made while others run
    pool = futures.ThreadPoolExecutor(1)
    made = {name: pool.submit(suite.prepare) for name in names
            if hasattr(suite := importlib.import_module(f"suites.{name.partition('/')[0]}"), "prepare")}
    for name in names:
        print(f"\n-- {name}", flush=True)
        began, cases = time.monotonic(), rig.Cases(name, deviations.KNOWN.get(name, {}))
        version = "?"
        with rig.Rig(hokkud, args.long, name.endswith("/tls")) as r:
            try:
                suite = importlib.import_module(f"suites.{name.partition('/')[0]}")
                if name in made:
                    made[name].result()
                version = suite.version(r)
                suite.run(r, cases)
                r.sound(cases)
            except rig.Absent as e:
                cases.add("the suite itself", f"can't run: {e}")
            except Exception:
                cases.add("the suite itself", traceback.format_exc())
        if not cases.count:
            cases.add("the suite itself", "not one case was run")
        lines.append(cases.line(version, time.monotonic() - began))
        bad += cases.failed
    print("\n== Conformance of the router: suite, version, cases, passed, known deviations, failed, seconds")
    print("\n".join(lines))
    print(f"\n== {'FAILED: ' + str(bad) + ' cases' if bad else 'No failure'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
