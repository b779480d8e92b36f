"""load.py URL HOST STOP_FILE [CA]: asks for a page again and again until STOP_FILE exists, on new connections and on kept
ones; with a CA file over TLS as well, on port 443.

Prints `N requests (N over TLS), N failed, slowest N ms`, and what the first failures were. Anything but a 200 within 10 s has failed.
A kept connection is left only when the answer says so.
"""

import http.client
import os
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

url, host, stop = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
ca = sys.argv[4] if len(sys.argv) > 4 else None
totals, failures, slowest, lock = {False: 0, True: 0}, [], 0.0, threading.Lock()
trust = ssl.create_default_context(cafile=ca) if ca else None


def connect(secure):
    """A connection that http.client does not open again by itself, which would hide a lost one."""
    wire = http.client.HTTPConnection(url.hostname, 443 if secure else url.port or 80, timeout=10)
    wire.connect()
    wire.auto_open = 0
    if secure:
        wire.sock = trust.wrap_socket(wire.sock, server_hostname=host)
    return wire


def ask(keep, secure):
    global slowest
    wire = None
    while not os.path.exists(stop):
        began = time.monotonic()
        failure = None
        try:
            if wire is None:
                wire = connect(secure)
            wire.request("GET", url.path or "/", headers={"Host": host})
            answer = wire.getresponse()
            answer.read()
            if answer.status != 200:
                failure = f"status {answer.status}"
            if not keep or answer.will_close:
                wire.close()
                wire = None
        except (OSError, http.client.HTTPException) as e:
            failure = f"{type(e).__name__}: {e} on a {'kept' if keep else 'new'} {'TLS ' if secure else ''}connection"
            wire = None
        took = time.monotonic() - began
        with lock:
            totals[secure] += 1
            slowest = max(slowest, took)
            if failure:
                failures.append(failure)
        time.sleep(max(0.0, 0.01 - took))


threads = [threading.Thread(target=ask, args=(keep, secure)) for keep in (False, True)
           for secure in ((False, True) if ca else (False,))]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f"{sum(totals.values())} requests ({totals[True]} over TLS), {len(failures)} failed, slowest {slowest * 1000:.0f} ms", *failures[:5], sep="; ")
sys.exit(1 if failures or totals[False] < 50 or ca and totals[True] < 20 else 0)
