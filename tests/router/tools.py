"""Programs from elsewhere: the Python environment of the suites, and folders that are kept between runs."""

import hashlib
import os
import shutil
import subprocess
import sys

CACHE = os.environ.get("HOKKU_TEST_CACHE") or (
    "/var/cache/hokku-test" if os.geteuid() == 0 else os.path.expanduser("~/.cache/hokku-test"))


def keyed(kind, *texts):
    """A folder of the cache whose name changes with what it is made from."""
    key = hashlib.sha256("\0".join((*texts, sys.version)).encode()).hexdigest()[:12]
    return os.path.join(CACHE, f"{kind}-{key}")


def made(folder, make):
    """The folder, made once: what `make(new)` leaves behind counts only when it is whole."""
    if os.path.isdir(folder):
        return folder
    new = f"{folder}.new.{os.getpid()}"
    os.makedirs(new)
    try:
        make(new)
        os.rename(new, folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return folder


def enter_environment(requirements):
    """Goes on in a Python that has the packages of the suites, at the versions named there."""
    if os.environ.get("HOKKU_CONFORM_PYTHON") == sys.executable:
        return
    with open(requirements) as f:
        text = f.read()

    def make(new):
        subprocess.run([sys.executable, "-m", "venv", "--copies", new], check=True)
        subprocess.run([os.path.join(new, "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check",
                        "--only-binary", ":all:", "-r", requirements], check=True)

    folder = made(keyed("conform-python", text), make)
    python = os.path.join(folder, "bin/python")
    os.execve(python, [python, *sys.argv], {**os.environ, "HOKKU_CONFORM_PYTHON": python})
