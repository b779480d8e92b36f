"""Autobahn's WebSocket testsuite, its fuzzing client through the tunnel to an echo on `websockets`, and past the router to the
same echo: the router may add no failure. It wants Python 2.7, which Debian 11 was the last to have: a tree of that, and what
Autobahn needs at the versions of its time, is made once and kept in HOKKU_TEST_CACHE. Chapters 9 (limits), 12 and 13
(compression) are of the long form."""

import json
import os
import shutil
import subprocess
import sys
import uuid

import tools
from rig import Absent, program

TOOLS = ["pip==20.3.4", "setuptools==44.1.1", "wheel==0.37.1"]
NEEDED = """twisted==19.10.0 zope.interface==5.5.2 six==1.16.0 txaio==2.1.0 autobahn==0.10.9 jinja2==2.11.3 markupsafe==1.1.1
werkzeug==0.16.1 klein==17.10.0 pyopenssl==19.1.0 cryptography==3.3.2 service_identity==18.1.0 unittest2==1.1.0
incremental==21.3.0 hyperlink==19.0.0 Automat==20.2.0 attrs==20.3.0""".split()
SUITE = "autobahntestsuite==0.8.2"
PACKAGES = "python2.7-minimal,libpython2.7-stdlib,python-setuptools,ca-certificates"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}
CLEAN = {"OK", "INFORMATIONAL", "UNIMPLEMENTED"}


def version(_):
    return SUITE.replace("==", " ")


def call(*command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False, **more)
    if done.returncode:
        raise Absent(f"{' '.join(command)[:200]} failed with {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def mirror():
    """Of Debian's packages, this machine's own."""
    said = call("apt-get", "indextargets", "--format", "$(REPO_URI)").splitlines()
    return next((u for u in sorted(set(said)) if u.rstrip("/").endswith("/debian")), "http://deb.debian.org/debian").rstrip("/")


def make(new):
    """Takes a minute or two."""
    tree, wheels = os.path.join(new, "tree"), os.path.join(new, "tree", "root", "wheels")
    # Debian 11 is archived and its keys go: what is installed runs in a chroot against loopback only
    call(program("mmdebstrap", "mmdebstrap"), "-q", "--variant=minbase", "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"',
         f"--include={PACKAGES}", "bullseye", tree, f"deb [trusted=yes] {mirror()} bullseye main")
    call(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--python-version", "27",
         "--implementation", "py", "--abi", "none", "--platform", "any", "-d", wheels, *TOOLS)
    for file in (CERTIFICATES, "/etc/resolv.conf", "/etc/hosts"):
        os.makedirs(os.path.dirname(tree + file), exist_ok=True)
        if os.path.exists(file):
            shutil.copyfile(file, tree + file)
    inside = {**{k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")},
              "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "PIP_CERT": CERTIFICATES, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    first = next(w for w in os.listdir(wheels) if w.startswith("pip-"))
    call(program("chroot", "coreutils"), tree, "python2.7", f"/root/wheels/{first}/pip", "install", "-q", "--no-index", "--find-links", "/root/wheels", "pip", "setuptools", "wheel", env=inside)
    call(program("chroot", "coreutils"), tree, "python2.7", "-m", "pip", "install", "-q", *NEEDED, env=inside)
    call(program("chroot", "coreutils"), tree, "python2.7", "-m", "pip", "install", "-q", "--no-deps", SUITE, env=inside)
    call(program("chroot", "coreutils"), tree, "python2.7", "-c", "import autobahntestsuite.wstest", env=inside)


def prepare():
    """The tree, made once."""
    if os.geteuid() != 0:
        raise Absent("it needs root, for a chroot of Debian 11")
    key = " ".join([*TOOLS, *NEEDED, SUITE, PACKAGES])
    return os.path.join(tools.made(tools.keyed("autobahn", key), make), "tree")


def run(rig, cases):
    tree = prepare()
    echo = rig.backend("echo")
    ways = {"router": rig.router({"app.test": echo}).port, "direct": echo}
    work = f"tmp/{uuid.uuid4().hex}"
    os.makedirs(os.path.join(tree, work))
    rig.closers.append(lambda: shutil.rmtree(os.path.join(tree, work)))
    running = {}
    for way, port in ways.items():
        with open(os.path.join(tree, work, f"{way}.json"), "w") as f:
            json.dump({"outdir": f"/{work}/{way}", "servers": [{"agent": way, "url": f"ws://127.0.0.1:{port}", "options": {"version": 18}}],
                       "cases": ["*"], "exclude-cases": [] if rig.long else ["9.*", "12.*", "13.*"], "exclude-agent-cases": {}}, f)
        running[way] = rig.child([program("chroot", "coreutils"), tree, "wstest", "-m", "fuzzingclient", "-s", f"/{work}/{way}.json"], f"wstest-{way}",
                                 env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root"})
    found = {}
    for way, child in running.items():
        status = child.wait(1500 if rig.long else 180)
        index = os.path.join(tree, work, way, "index.json")
        if not os.path.exists(index):
            raise RuntimeError(f"wstest ended with {status} and no report: {rig.log(f'wstest-{way}')[-1500:]}")
        with open(index) as f:
            found[way] = json.load(f)[way]
    judge(cases, found)


def judge(cases, found):
    def good(verdict):
        return verdict["behavior"] in GOOD and verdict["behaviorClose"] in CLEAN
    if len(found["router"]) != len(found["direct"]):
        cases.add("as many cases by both ways", f"{len(found['router'])} and {len(found['direct'])}")
    own = []
    for name, direct in found["direct"].items():
        through = found["router"].get(name)
        if good(direct) and through and not good(through):
            cases.add(name, f"through the router {through['behavior']}, closed {through['behaviorClose']}; directly {direct['behavior']}")
        else:
            cases.add(name)
            if not good(direct):
                own.append(name)
    if own:
        print(f"   the echo itself fails: {', '.join(own)}", flush=True)
