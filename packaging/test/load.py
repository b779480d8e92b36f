"""load.py URL HOST STOP_FILE: asks for a page again and again until STOP_FILE exists, on new connections and on kept ones.

Prints `N requests, N failed, slowest N ms`, and what the first failures were. Anything but a 200 within 10 s has failed.
A kept connection is left only when the answer says so.
"""

import http.client
import os
import sys
import threading
import time
from urllib.parse import urlsplit

url, host, stop = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
total, failures, slowest, lock = 0, [], 0.0, threading.Lock()


def ask(keep):
    global total, slowest
    wire = None
    while not os.path.exists(stop):
        began = time.monotonic()
        failure = None
        try:
            if wire is None:
                wire = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=10)
                # http.client would open another one by itself and hide a lost connection.
                wire.connect()
                wire.auto_open = 0
            wire.request("GET", url.path or "/", headers={"Host": host})
            answer = wire.getresponse()
            answer.read()
            if answer.status != 200:
                failure = f"status {answer.status}"
            if not keep or answer.will_close:
                wire.close()
                wire = None
        except (OSError, http.client.HTTPException) as e:
            failure = f"{type(e).__name__}: {e} on a {'kept' if keep else 'new'} connection"
            wire = None
        took = time.monotonic() - began
        with lock:
            total += 1
            slowest = max(slowest, took)
            if failure:
                failures.append(failure)
        time.sleep(max(0.0, 0.01 - took))


threads = [threading.Thread(target=ask, args=(keep,)) for keep in (False, True)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f"{total} requests, {len(failures)} failed, slowest {slowest * 1000:.0f} ms", *failures[:5], sep="; ")
sys.exit(1 if failures or total < 50 else 0)
