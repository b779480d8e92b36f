"""Requests at a steady rate over kept connections; every answer is checked, every failure counted by what it was."""

import asyncio
import collections
import json
import threading
import time


class Load(threading.Thread):
    def __init__(self, router, host, rate, connections):
        super().__init__(daemon=True)
        self.router, self.host, self.rate, self.connections = router, host, rate, connections
        self.stopping = False
        self.good = 0
        self.failures = collections.Counter()
        self.slowest = 0.0
        self.times = []

    def run(self):
        asyncio.run(self.all())

    async def all(self):
        self.started = time.monotonic()
        await asyncio.gather(*(self.one(n) for n in range(self.connections)))

    async def one(self, n):
        pause = self.connections / self.rate
        due = time.monotonic() + pause * n / self.connections
        wire, i = None, 0
        while not self.stopping:
            await asyncio.sleep(max(0, due - time.monotonic()))
            due = max(due + pause, time.monotonic() - 20 * pause)
            i += 1
            path, sent = f"/load/{n}?i={i}", time.monotonic()
            try:
                if wire is None:
                    wire = await asyncio.open_connection(*self.router)
                await asyncio.wait_for(self.ask(wire, path), 30)
                self.good += 1
            except Exception as e:  # each kind is counted
                self.failures[f"{type(e).__name__}: {e}"[:160]] += 1
                if wire:
                    wire[1].close()
                wire = None
            took = time.monotonic() - sent
            self.times.append(took)
            self.slowest = max(self.slowest, took)
        if wire:
            wire[1].close()

    async def ask(self, wire, path):
        reader, writer = wire
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = int(head.split(" ", 2)[1])
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)}
        body = await reader.readexactly(int(headers["content-length"]))
        if status != 200:
            raise ValueError(f"status {status}")
        if json.loads(body)["path"] != path:
            raise ValueError("the answer is to another request")

    def finish(self):
        self.stopping = True
        self.join(60)
        seconds = time.monotonic() - self.started
        self.times.sort()
        return {
            "seconds": round(seconds, 1),
            "requests": self.good + sum(self.failures.values()),
            "rate": round((self.good + sum(self.failures.values())) / seconds, 1),
            "failed": sum(self.failures.values()),
            "failures": dict(self.failures),
            "p50_ms": round(self.times[len(self.times) // 2] * 1000, 1),
            "p99_ms": round(self.times[len(self.times) * 99 // 100] * 1000, 1),
            "slowest_ms": round(self.slowest * 1000, 1),
        }
