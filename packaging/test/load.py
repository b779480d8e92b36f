"""load.py URL HOST STOP_FILE: asks for a page again and again on new connections until STOP_FILE exists.

Prints `N requests, N failed, slowest N ms`, and what the first failures were. Anything but a 200 within 10 s has failed.
"""

import http.client
import os
import sys
import time
from urllib.parse import urlsplit

url, host, stop = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
total, failures, slowest = 0, [], 0.0
while not os.path.exists(stop):
    began = time.monotonic()
    try:
        wire = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=10)
        wire.request("GET", url.path or "/", headers={"Host": host})
        answer = wire.getresponse()
        answer.read()
        if answer.status != 200:
            failures.append(f"status {answer.status}")
        wire.close()
    except (OSError, http.client.HTTPException) as e:
        failures.append(f"{type(e).__name__}: {e}")
    took = time.monotonic() - began
    slowest = max(slowest, took)
    total += 1
    time.sleep(max(0.0, 0.01 - took))
print(f"{total} requests, {len(failures)} failed, slowest {slowest * 1000:.0f} ms", *failures[:5], sep="; ")
sys.exit(1 if failures or total < 50 else 0)
