"""Chromium without a screen: a page with style and script, compressed text, uploads, streams, EventSource, WebSocket.
The page runs the cases of `clients/page.js` and tells the app what came of them."""

import json

import requests

from rig import first_line, program

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions", "--no-proxy-server"]


def version(_):
    return first_line(program("chromium", "chromium"), "--version").removesuffix(", built on Debian")


def run(rig, cases):
    port = rig.backend("app", rig.path("data"))
    router = rig.router({"app.test": port})
    rig.child([program("chromium", "chromium"), *FLAGS, f"--user-data-dir={rig.path('profile')}", "--mute-audio",
               "--remote-debugging-port=0", f"--host-resolver-rules=MAP app.test 127.0.0.1:{router.port}",
               *(["--ignore-certificate-errors"] if router.secure else []),
               f"{'https' if router.secure else 'http'}://app.test/page/page.html"], "chromium", env={"HOME": rig.dir, "PATH": "/usr/bin:/bin"})
    try:
        # asked past the router: the app waits for the page's report
        found = json.loads(requests.get(f"http://127.0.0.1:{port}/reported", timeout=70).text)
    except (requests.RequestException, ValueError):
        cases.add("the page's report", f"none came; chromium says: {rig.log('chromium')[-1000:]}")
        return
    for name, fault in found:
        cases.add(name, fault)
