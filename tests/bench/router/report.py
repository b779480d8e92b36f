"""Tables for the terminal, and the plot."""

import math
from html import escape

from goals import OURS, ratios, spread

COLOURS = {"hokku": "#7c3aed", "nginx": "#15803d", "nginx-streamed": "#4ade80", "nginx-dokku": "#a3a3a3",
           "haproxy": "#2563eb", "caddy": "#d97706"}
FIGURES = [("rps", "req/s", "{:,.0f}"), ("p50_ms", "p50 ms", "{:.2f}"), ("p99_ms", "p99 ms", "{:.1f}"),
           ("cpu_us", "CPU us/req", "{:,.1f}"), ("bytes", "bytes", "{:,.0f}"), ("memory_mb", "MB", "{:.1f}"),
           ("start_mb", "start MB", "{:.1f}"),
           ("rss_kb", "rise KB each", "{:,.0f}"), ("kb_per_conn", "KB/conn", "{:.2f}"), ("swap_ms", "met after ms", "{:.1f}"),
           ("failed", "failed", "{:,.0f}"), ("closed", "closed", "{:,.0f}"), ("instructions", "user instr/req", "{:,.0f}"),
           ("calls", "calls/req", "{:.2f}"), ("waits", "epoll_wait/req", "{:.2f}")]


def short(x):
    return "" if x is None else f"{x:,.0f}" if abs(x) >= 100 else f"{x:.2f}"


def columns(rows):
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths))).rstrip()


def load_table(title, load):
    """One load: a line per proxy."""
    measured = [p for p in load if load[p].get("rounds")]
    used = [f for f in FIGURES if any(f[0] in r for p in measured for r in load[p]["rounds"])]
    by = "instructions" if any(f[0] == "instructions" for f in used) else "cpu_us"
    with_ratio = "nginx" in measured and any(f[0] == by for f in used)
    rows = [[title] + [head for _, head, _ in used] + (["to nginx", "(min-max)"] if with_ratio else []) + ["errors"]]
    for p in measured:
        rounds = load[p]["rounds"]
        row = [f"  {p}"]
        for name, _, form in used:
            values = [r[name] for r in rounds if r.get(name) is not None]
            row.append(form.format(spread(values)[0]) if values else "")
        if with_ratio:
            found = ratios(load, by, "nginx", p)
            row += [f"{spread(found)[0]:.2f}", f"{min(found):.2f}-{max(found):.2f}"] if found else ["", ""]
        errors = sum(r.get("errors", 0) for r in rounds)
        rows.append([*row, f"! {errors}" if errors else "0"])
    lines = list(columns(rows))
    lines += [f"    {p}: {load[p]['why']}" for p in load if not load[p].get("rounds")]
    return "\n".join(lines)


def goal_table(rows):
    words = {"cpu_us": "CPU", "bytes": "bytes", "rss_kb": "memory rise", "start_mb": "memory at start", "p50_ms": "p50",
             "kb_per_conn": "memory", "swap_ms": "time", "failed": "failed requests", "closed": "closed connections",
             "instructions": "user instructions", "calls": "system calls"}
    table = [["goals", "figure", "measured", "(min-max)", "must", "ambitious", "verdict"]]
    for r in rows:
        against = (f" / {r['against']}" if r["against"] else "") + (f" {r['unit']}" if r["unit"] else "")
        table.append([
            f"  {r['load']}", words[r["figure"]] + against,
            short(r.get("median")), f"{short(r['least'])}-{short(r['most'])}" if "median" in r else "",
            f"<= {r['must']:g}", "" if r["ambitious"] is None else f"<= {r['ambitious']:g}", r["verdict"]])
    return "\n".join(columns(table))


def head(about, mode):
    v = ", ".join(f"{name} {n}" for name, n in about["versions"].items())
    return (f"make bench-router, {mode}\n"
            f"  {about['cpu']}, {about['cores']} cores, kernel {about['kernel']}, load average "
            f"{about['load average before']}\n  {about['router']}\n  {v}\n"
            "  Ratios of interleaved rounds count; requests/s and latency say more about the neighbours on this machine.")


def plot(results, loads):
    """SVG: CPU per request as a ratio to nginx, each load and proxy, median with least and most, on a log scale."""
    bars = []
    for name, title in loads:
        load = results.get(name, {})
        for p in load:
            found = ratios(load, "cpu_us", "nginx", p)
            if p != "nginx" and found:
                bars.append((title, p, *spread(found)))
    if not bars:
        return None
    left, width, step, top = 330, 620, 18, 60
    low = min(0.05, *(b[3] for b in bars))
    high = max(2.0, *(b[4] for b in bars))

    def x(v):
        return left + width * (math.log(max(v, 1e-3)) - math.log(low)) / (math.log(high) - math.log(low))
    out, y, last = [], top, None
    for title, p, mid, least, most in bars:
        if title != last:
            y += 10
            out.append(f'<text x="{left - 100}" y="{y + 12}" text-anchor="end">{escape(title[:48])}</text>')
            last = title
        colour = COLOURS.get(p, "#555")
        a, b = sorted((x(1), x(mid)))
        out.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end" fill="{colour}">{p}</text>'
                   f'<rect x="{a:.1f}" y="{y + 2}" width="{max(1, b - a):.1f}" height="{step - 5}" fill="{colour}"'
                   f' fill-opacity="{1 if p == OURS else .55}"/>'
                   f'<path d="M{x(least):.1f} {y + 8}H{x(most):.1f}M{x(least):.1f} {y + 4}v8M{x(most):.1f} {y + 4}v8"'
                   f' stroke="#111"/><text x="{left + width + 8}" y="{y + 12}">{mid:.2f}</text>')
        y += step
    lines = [f'<path d="M{x(t):.1f} {top - 6}V{y + 6}" stroke="{"#111" if t == 1 else "#ddd"}"/>'
             f'<text x="{x(t):.1f}" y="{top - 10}" text-anchor="middle">{t:g}</text>'
             for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50) if low <= t <= high]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{y + 20}"'
            ' font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
            '<text x="12" y="22" font-size="15">CPU per request, ratio to tuned nginx (median; least and most round)</text>'
            + "".join(lines) + "".join(out) + "</svg>\n")
