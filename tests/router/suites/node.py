"""Node's http, http2 and fetch (undici), by `clients/client.mjs`."""

import os

from rig import HERE, first_line, program
from suites import external


def version(_):
    return f"node {first_line(program('node', 'nodejs'), '--version')}"


def run(rig, cases):
    external.run(rig, cases, [program("node", "nodejs"), os.path.join(HERE, "clients", "client.mjs")])
