"""Clients in other languages: a program that asks by its own table and prints a line of JSON a case, [name, fault or null]."""

import json
import os
import subprocess


def run(rig, cases, command, timeout=90):
    """Runs the program with the router's address behind its other arguments; every line is a case."""
    router = rig.router({"app.test": rig.backend("app", rig.path("data"))})
    with open(rig.path("client.log"), "wb") as log:
        child = subprocess.Popen([*command, f"127.0.0.1:{router.port}", *(["tls"] if router.secure else [])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True,
                                 env={**os.environ, **({"NODE_EXTRA_CA_CERTS": router.ca} if router.secure else {})})
    rig.children.append(child)
    try:
        said, _ = child.communicate(timeout=timeout)
        end = f"status {child.returncode}" if child.returncode else None
    except subprocess.TimeoutExpired as e:
        # what it said until then counts
        said, end = (e.stdout or b"").decode(), f"nothing more within {timeout} s"
    for line in said.splitlines():
        name, fault = json.loads(line)
        cases.add(name, fault)
    cases.add("the program comes to its end", end and f"{end}: {rig.log('client')[-1500:]}")
