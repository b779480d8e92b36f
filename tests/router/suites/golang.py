"""Go's net/http, by `clients/client.go`."""

import os
import subprocess

from rig import HERE, first_line, program
from suites import external


def version(_):
    return first_line(program("go", "golang-go"), "version").removeprefix("go version ")


def run(rig, cases):
    built = rig.path("client")
    quiet = {**os.environ, "GOFLAGS": "", "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOCACHE": os.path.join(rig.dir, "go")}
    done = subprocess.run([program("go", "golang-go"), "build", "-o", built, os.path.join(HERE, "clients", "client.go")], env=quiet, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    external.run(rig, cases, [built])
