"""Java's HttpClient, which asks for h2c by upgrade unless told otherwise, by `clients/Client.java`."""

import os

from rig import HERE, Absent, first_line, program
from suites import external


def version(_):
    return first_line(program("java", "default-jdk-headless"), "-version")


def run(rig, cases):
    java = program("java", "default-jdk-headless")
    if not os.path.exists(os.path.join(os.path.dirname(os.path.realpath(java)), "javac")):
        raise Absent("java is here, its compiler is not; Debian's package default-jdk-headless has it (.ci/deps conform)")
    external.run(rig, cases, [java, "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djdk.httpclient.allowRestrictedHeaders=host,connection", os.path.join(HERE, "clients", "Client.java")])
