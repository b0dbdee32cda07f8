#!/usr/bin/env python3
"""Runs what deploy/compose.yml or deploy/kubernetes describes, as processes of this machine, until a video is counted.

Each container is the process that it would start: its command, its environment, its files, at the ports that it has. It
gets an address of its own in 127.0.0.0/8 in the place of its host's name, and a folder in the place of its volume.
Every probe and health check has to succeed. What needs an engine (images, volumes, users) is not tried.
"""

import argparse
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

from resources import (
    PROJECT, SERVER, component, compose, data, environment, files, image_environment, json_value, of_kind, rendered,
    server_hosts, workloads,
)

# Only a failure takes that long.
PATIENCE = 120
# As in moliceiro_testing::loopback: who has this UDP port has the whole address.
CLAIM = 24_200


def claim():
    while True:
        address = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        claimed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claimed.bind((address, CLAIM))
            return address, claimed
        except OSError:
            claimed.close()


class Machine:
    """A container without its engine."""

    def __init__(self, name, command, variables, mounted, folder, claimed=None):
        self.name, self.command, self.variables, self.mounted = name, command, variables, mounted
        self.folder = folder / name
        self.address, self.claimed = claimed or claim()
        self.process = None

    def start(self, hosts, programs):
        def moved(text):
            for host, address in hosts.items():
                text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?=:\d)", address, text)
            text = re.sub(r"(?<!\d)(0\.0\.0\.0|127\.0\.0\.1)(?=:)", self.address, text)
            for path in sorted(self.mounted, key=len, reverse=True):
                text = text.replace(path, str(self.folder / path.lstrip("/")))
            return text.replace("/var/lib/moliceiro", str(self.folder / "volume"))

        (self.folder / "volume").mkdir(parents=True)
        for path, text in self.mounted.items():
            target = self.folder / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(moved(text))
        program = programs[self.command[0]]
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            [program, *map(moved, self.command[1:])],
            env={"PATH": os.environ["PATH"], **{key: moved(value) for key, value in self.variables.items()}},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, cwd=self.folder,
        )

    def fail(self, what):
        sys.exit(f"{self.name}: {what}\n{(self.folder / 'log').read_text(errors='replace')[-6000:]}")

    def wait(self, what, condition):
        for _ in range(PATIENCE * 5):
            if self.process.poll() is not None:
                self.fail(f"it ended with {self.process.returncode}, before {what}")
            found = condition()
            if found:
                return found
            time.sleep(0.2)
        self.fail(f"{what} does not come")

    def probe(self, port, path):
        def answers():
            try:
                return urllib.request.urlopen(f"http://{self.address}:{port}{path}", timeout=5).status == 200
            except OSError:
                return False
        self.wait(f"200 of port {port}{path}", answers)

    def check_tls(self, port):
        """Nobody reaches a server without TLS, and no server another."""
        with urllib.request.urlopen(f"http://{self.address}:{port}/varz", timeout=30) as answer:
            found = json.load(answer)
        cluster = found["cluster"]
        if not (found.get("tls_required") and cluster.get("tls_required") and cluster.get("tls_verify")):
            self.fail("it serves clients or other servers without TLS")

    def check_health(self, test):
        """Runs a health check of a container, as it stands there."""
        command = [part.replace("$$", "$").replace("127.0.0.1", self.address) for part in test]
        self.wait("its health", lambda: subprocess.run(command, capture_output=True).returncode == 0)


def request(url, token=None, body=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "video/mp4"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None


def count(ingest, video, tokens):
    """Uploads a video, and waits until it is counted."""
    base = f"http://{ingest.address}:5000"
    upload = f"{base}/videos?name=trial&every=40"
    if tokens:
        # A video would still be on its way when the answer comes.
        status, _ = request(upload, None, b"-")
        if status != 401:
            sys.exit(f"an upload without a token is answered with {status}")
        status, _ = request(upload, tokens["read"], b"-")
        if status != 403:
            sys.exit(f"an upload with the token for reading is answered with {status}")
    status, answer = request(upload, tokens.get("upload"), video)
    if status != 202:
        ingest.fail(f"an upload is answered with {status}")
    link = base + answer["links"]["video"]

    def ended():
        status, found = request(link, tokens.get("read"))
        return found if status == 200 and found["state"] in ["done", "failed", "incomplete"] else None
    found = ingest.wait("the summary", ended)
    frames = found["summary"]["processed_frames"]
    if found["state"] != "done" or not frames:
        ingest.fail(f"the video ends as {found}")
    print(f"{frames} frames are counted")


def on_kubernetes(root, folder):
    # Certificates are for addresses here.
    claims = [claim() for _ in server_hosts(root)]
    resources = rendered(root, "kubernetes", addresses=[address for address, _ in claims])[0]
    settings = image_environment(root)
    machines, tokens = [], {}
    for workload in sorted(workloads(resources), key=lambda found: component(found) != "nats"):
        pod = workload["spec"]["template"]["spec"]
        container = pod["containers"][0]
        is_set = workload["kind"] == "StatefulSet"
        for number in range(workload["spec"]["replicas"] if is_set else 1):
            name = f"{workload['metadata']['name']}-{number}"
            command = container.get("command") or ["moliceiro", *container["args"]]
            variables = {**settings, **environment(resources, container, name)}
            mounted = files(resources, pod, container)
            machine = Machine(name, command, variables, mounted, folder, claims[number] if is_set else None)
            machine.hosts = [f"{name}.{workload['spec']['serviceName']}"] if is_set else []
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            probes = [container[probe]["httpGet"] for probe in ["startupProbe", "readinessProbe", "livenessProbe"]]
            machine.checks = [("probe", ports[probe["port"]], probe["path"]) for probe in probes]
            if is_set:
                machine.checks.append(("check_tls", ports["monitor"]))
            machine.waits = not is_set
            machines.append(machine)
    secret = next(data(found) for found in of_kind(resources, "Secret") if "tokens.toml" in found["data"])
    listed = tomllib.loads(secret["tokens.toml"])["token"]
    tokens = {token["scope"]: token["token"] for token in listed}
    return machines, tokens


def of_compose(root, folder):
    found = compose(root)
    subprocess.run([root / "deploy/make-passwords", folder], check=True, capture_output=True)
    passwords = dict(line.split("=", 1) for line in (folder / "passwords.env").read_text().splitlines())
    machines = []
    for name, service in found["services"].items():
        variables = {**image_environment(root), **(passwords if "env_file" in service else {})}
        for key, value in service.get("environment", {}).items():
            needed = re.fullmatch(r"\$\{(\w+):\?.*\}", str(value))
            variables[key] = passwords[needed[1]] if needed else str(value)
        mounted = {}
        for source, target, *_ in (volume.split(":") for volume in service.get("volumes", [])):
            if source.startswith("."):
                mounted[target] = (root / "deploy" / source).read_text()
        command = service.get("entrypoint", ["moliceiro"]) + service["command"]
        machine = Machine(name, command, variables, mounted, folder)
        machine.hosts = [name]
        test = service["healthcheck"]["test"][1:] if "healthcheck" in service else json_value(root, "HEALTHCHECK")
        machine.checks = [("check_health", test)]
        machine.waits = True
        machines.append(machine)
    return machines, {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=["compose", "kubernetes"])
    parser.add_argument("--root", type=Path, default=PROJECT)
    parser.add_argument("--program", type=Path, default=PROJECT / "target/debug/moliceiro")
    parser.add_argument("--video", type=Path, default=PROJECT / ".deps/samples/carphone_pristine.mp4")
    arguments = parser.parse_args()
    programs = {"moliceiro": arguments.program.resolve(), SERVER: PROJECT / ".deps/bin/nats-server"}
    folder = Path(tempfile.mkdtemp())
    machines = []
    try:
        describe = on_kubernetes if arguments.what == "kubernetes" else of_compose
        machines, tokens = describe(arguments.root, folder)
        hosts = {host: machine.address for machine in machines for host in machine.hosts}
        for machine in machines:
            machine.start(hosts, programs)
            if machine.waits:
                # The servers before it are there by now.
                for other in machines[: machines.index(machine) + 1]:
                    for check, *values in other.checks:
                        getattr(other, check)(*values)
                    other.checks = []
        ingest = next(machine for machine in machines if "ingest" in machine.name)
        count(ingest, arguments.video.read_bytes(), tokens)
    finally:
        for machine in machines:
            if machine.process:
                machine.process.kill()
                machine.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
