"""The goals: ratios of the router to a peer in the same round, or plain figures, each with a must and an ambition.

They are for what is shipped, which PROFILE=release builds. The default, `load`, is built faster and needs about 6 % more
user instructions; what it meets, the package meets."""

import statistics
from dataclasses import dataclass

OURS = "hokku"


@dataclass
class Goal:
    load: str
    figure: str
    base: str  # the peer that is compared with; "" for a plain figure
    must: float
    ambitious: float | None = None
    unit: str = ""
    base_load: str = ""  # where the base is taken from; the same load when empty


GOALS = [
    Goal("small", "cpu_us", "nginx", 0.75, 0.60),
    Goal("unix", "cpu_us", "nginx", 0.60, 0.50),
    Goal("close", "cpu_us", "nginx", 0.90, 0.80),
    Goal("text", "cpu_us", "nginx", 0.75, 0.65),
    Goal("gzip", "cpu_us", "nginx", 0.55, 0.45),
    Goal("gzip", "bytes", "nginx", 1.0),
    Goal("gzip-same", "cpu_us", "nginx", 0.15, 0.10),
    Goal("big", "cpu_us", "nginx", 0.75, 0.65),
    Goal("upload", "cpu_us", "nginx-streamed", 0.80, 0.65),
    Goal("upload", "cpu_us", "nginx", 0.45),
    Goal("upload", "rss_kb", "", 256, unit="KB each"),
    Goal("routes-1000", "cpu_us", "nginx", 0.65, 0.55),
    Goal("routes-1000", "start_mb", "", 10, unit="MB"),
    Goal("table-10000", "cpu_us", "hokku", 1.10, unit="with 1 app", base_load="routes-1"),
    Goal("paced", "cpu_us", "nginx", 0.95, 0.80),
    Goal("paced", "p50_ms", "nginx", 1.0),
    Goal("tls", "cpu_us", "nginx", 0.85, 0.65),
    Goal("tls-resumed", "cpu_us", "nginx", 1.10, 1.0),
    Goal("websockets", "kb_per_conn", "", 4, 2.5, "KB"),
    Goal("idle", "kb_per_conn", "", 3, 1.5, "KB"),
    Goal("swap", "swap_ms", "", 20, 5, "ms"),
    Goal("swap", "failed", "", 0, 0),
    Goal("swap", "closed", "", 0, 0),
    Goal("exact", "instructions", "", 20000, 15000),
    Goal("exact", "instructions", "nginx", 0.60, 0.45),
    Goal("exact", "calls", "", 4.1, unit="without epoll_wait"),
    Goal("small", "cpu_us", "haproxy", 0.60),
    Goal("gzip", "cpu_us", "haproxy", 1.05),
    Goal("gzip", "bytes", "haproxy", 0.75),
    Goal("big", "cpu_us", "haproxy", 0.75),
    Goal("small", "cpu_us", "caddy", 0.15),
    Goal("gzip", "cpu_us", "caddy", 0.30),
    Goal("big", "cpu_us", "caddy", 0.60),
    Goal("small", "cpu_us", "nginx-dokku", 0.25),
    Goal("gzip", "cpu_us", "nginx-dokku", 0.25),
    Goal("big", "cpu_us", "nginx-dokku", 0.45),
]


def peers_of(load):
    """The peers that the goals of a load compare with."""
    named = {g.base.removesuffix("-streamed") for g in GOALS if load in (g.load, g.base_load)}
    return named - {"", OURS}


def has_goal(load):
    return any(load in (g.load, g.base_load) for g in GOALS)


def spread(values):
    """Median, least, most."""
    return statistics.median(values), min(values), max(values)


def ratios(load, figure, base, who=OURS, base_load=None):
    """The ratio of each round, or the plain figures without a base; empty when one of the two has none."""
    mine = [r.get(figure) for r in load.get(who, {}).get("rounds", [])]
    if None in mine:
        return []
    if not base:
        return mine
    theirs = [r.get(figure) for r in (base_load or load).get(base, {}).get("rounds", [])]
    return [m / t for m, t in zip(mine, theirs) if t]


def judge(results):
    """Each goal with what was measured: rows for the table and the JSON."""
    rows = []
    for goal in GOALS:
        load = results.get(goal.load)
        row = {"load": goal.load, "figure": goal.figure, "against": goal.base, "must": goal.must,
               "ambitious": goal.ambitious, "unit": goal.unit}
        rows.append(row)
        if load is None:
            row["verdict"] = "not run"
            continue
        base_load = results.get(goal.base_load, {}) if goal.base_load else load
        if not base_load:
            row["verdict"] = f"{goal.base_load} was not run"
            continue
        values = ratios(load, goal.figure, goal.base, base_load=base_load)
        if not values:
            ours, base = load.get(OURS, {}), load.get(goal.base or OURS, {})
            why = ours.get("why") or base.get("why") or f"{goal.base or OURS} was not measured"
            row["verdict"] = why.splitlines()[0][:90]
            continue
        row["median"], row["least"], row["most"] = spread(values)
        if goal.ambitious is not None and row["median"] <= goal.ambitious:
            row["verdict"] = "met, ambitious too"
        elif row["median"] <= goal.must:
            row["verdict"] = "met"
        else:
            row["verdict"] = "MISSED"
        if any(r.get("errors") for who in (OURS, goal.base) for r in load.get(who, {}).get("rounds", [])):
            row["verdict"] += " (with errors)"
    return rows
