#!/usr/bin/env python3
"""Measures whether the memory of any process grows with what it has done: memory.py [videos=10000] [dead=1000] [broken=1000]

videos: pictures uploaded by HTTP, 16 at a time, to a model that takes no time.
dead: attempts to connect to cameras that answered once, and are gone.
broken: uploads whose connection is lost in the middle.

Prints the resident memory of each process after each tenth, and what nats-server has in use. Exits with 1 if a service, or what the
server has in use, has LIMIT more after the last tenth than after the second. With the folder KEEP, profiles of the server's heap are kept there.
With SETTLE, it waits so many seconds before each measurement: after 150, the server keeps no message ids any more, and no block that it
read or wrote.
"""

import concurrent.futures
import http.client
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = pathlib.Path(os.environ.get("PROGRAMS", ROOT / "target/release"))
LIMIT = 5_000_000
AT_ONCE = 16
# Each waits up to 30 s between two attempts.
CAMERAS = 60
PATIENCE = 900
SERVER = "nats-server"
# Its resident memory is up to twice as much, and goes up and down.
IN_USE = "in use by nats-server"
MODEL = ROOT / "detector/vision/tests/data/layouts/nanodet.onnx"
PICTURE = ROOT / "detector/vision/tests/data/pictures/baseline.jpg"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Site:
    """nats-server and the three services, each a process."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ["nats", "profile", "http", "camera", "ingest", "detector", "aggregator"]}
        self.processes: dict[str, subprocess.Popen] = {}
        config = folder / "server.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.ports["nats"]}"\nprof_port: {self.ports["profile"]}\n'
            f'jetstream {{ store_dir: "{folder / "store"}", max_file_store: 20GB, sync_interval: always }}\n'
        )
        self.start(SERVER, [ROOT / ".deps/bin/nats-server", "--config", config])
        self.wait_for_port("nats")
        self.service("aggregator", [])
        self.ready("aggregator")
        subprocess.run(
            [PROGRAMS / "moliceiro", "model", "add", MODEL, "--name", "quick", *self.nats()],
            check=True, stdout=subprocess.DEVNULL,
        )
        self.service("detector", [])
        self.service("ingest", [
            "--listen", f"127.0.0.1:{self.ports['http']}", "--set", "ingest.model=quick",
            "--set", "ingest.videos=64", "--set", f"ingest.allow=http://127.0.0.1:{self.ports['camera']}/",
        ])
        self.ready("detector")
        self.ready("ingest")

    def nats(self) -> list[str]:
        return ["--nats", f"nats://127.0.0.1:{self.ports['nats']}"]

    def start(self, name: str, command: list) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        self.processes[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    def service(self, name: str, arguments: list[str]) -> None:
        listen = f"metrics.listen=127.0.0.1:{self.ports[name]}"
        self.start(name, [PROGRAMS / f"moliceiro-{name}", *self.nats(), "--set", listen, "--log", "warn", *arguments])

    def wait_for_port(self, name: str) -> None:
        self.wait(lambda: socket.create_connection(("127.0.0.1", self.ports[name]), 1).close() or True)

    def ready(self, name: str) -> None:
        self.wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/readyz").status == 200)

    @staticmethod
    def wait(is_so) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                if is_so():
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("it takes too long")

    def metric(self, service: str, name: str) -> float:
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.ports[service]}/metrics").read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    def resident(self) -> dict[str, int]:
        """The least of several samples: what is freed soon is no growth."""
        least: dict[str, int] = {}
        for _ in range(10):
            for name, process in self.processes.items():
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                found = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024
                least[name] = min(found, least.get(name, found))
            time.sleep(0.2)
        return least

    def heap(self) -> str:
        """The heap profile of nats-server, after it has freed what it does not use."""
        url = f"http://127.0.0.1:{self.ports['profile']}/debug/pprof/heap?debug=1&gc=1"
        return urllib.request.urlopen(url).read().decode()

    def memory(self) -> dict[str, int]:
        profile = self.heap()
        if "KEEP" in os.environ:
            (pathlib.Path(os.environ["KEEP"]) / f"heap-{time.time():.0f}.txt").write_text(profile)
        in_use = int(re.search(r"^# HeapAlloc = (\d+)$", profile, re.MULTILINE)[1])
        return {**self.resident(), IN_USE: in_use}

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in reversed(self.processes.values()):
            process.wait()


def upload(site: Site, number: int, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.ports["http"], timeout=PATIENCE)
    connection.request("POST", f"/videos?name={number}.jpg", body, {"Content-Type": "image/jpeg"})
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    if reply.status != 202:
        raise SystemExit(f"{reply.status}: {text!r}")


def tenths(total: int):
    return ((n, total * n // 10 - total * (n - 1) // 10) for n in range(1, 11))


def videos(site: Site, total: int):
    picture, counted = PICTURE.read_bytes(), 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as clients:
        for tenth, more in tenths(total):
            list(clients.map(lambda n: upload(site, n, picture), range(counted, counted + more)))
            counted += more
            site.wait(lambda: site.metric("aggregator", "moliceiro_aggregator_videos_finished_total") >= counted)
            yield tenth


def broken(site: Site, total: int):
    for tenth, more in tenths(total):
        for _ in range(more):
            with socket.create_connection(("127.0.0.1", site.ports["http"])) as client:
                client.sendall(b"POST /videos?name=a.mp4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n")
                client.sendall(b"x" * 300_000)
        time.sleep(2)
        yield tenth


class Camera:
    """Sends a picture to each client, and closes the connection without an end."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=CAMERAS)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        picture = PICTURE.read_bytes()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\nConnection: close\r\n\r\n"
        part = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture)
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                client.sendall(head + part + part)

    def die(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def dead(site: Site, total: int):
    camera = Camera(site.ports["camera"])
    for number in range(CAMERAS):
        body = f'{{"uri": "http://127.0.0.1:{site.ports["camera"]}/{number}", "name": "{number}"}}'
        connection = http.client.HTTPConnection("127.0.0.1", site.ports["http"])
        connection.request("POST", "/videos", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        if reply.status != 202:
            raise SystemExit(reply.read())
        connection.close()
    attempts = lambda: site.metric("ingest", "moliceiro_ingest_live_connections_lost_total")
    site.wait(lambda: attempts() >= CAMERAS)
    camera.die()
    first, done = attempts(), 0
    for tenth, more in tenths(total):
        done += more
        site.wait(lambda: attempts() - first >= done)
        yield tenth


PARTS = {"videos": (videos, 10_000), "dead": (dead, 1_000), "broken": (broken, 1_000)}


def measure(name: str, total: int) -> bool:
    print(f"{name}: {total}", flush=True)
    with tempfile.TemporaryDirectory(prefix="moliceiro-memory-") as folder:
        site = Site(pathlib.Path(folder))
        try:
            found = {}
            for tenth in PARTS[name][0](site, total):
                time.sleep(float(os.environ.get("SETTLE", "0")))
                found[tenth] = site.memory()
                cells = [f"{process} {bytes / 1e6:.1f} MB" for process, bytes in found[tenth].items()]
                print(f"  {tenth}/10: {', '.join(cells)}", flush=True)
        finally:
            site.stop()
    grown = {process: found[10][process] - found[2][process] for process in found[10]}
    judged = {process: bytes for process, bytes in grown.items() if process != SERVER}
    for process, bytes in grown.items():
        is_too_much = judged.get(process, 0) >= LIMIT
        print(f"  {process}: {bytes / 1e6:+.1f} MB{', too much' if is_too_much else ''}")
    return all(bytes < LIMIT for bytes in judged.values())


def main() -> None:
    asked = dict(argument.split("=", 1) for argument in sys.argv[1:]) or {name: total for name, (_, total) in PARTS.items()}
    results = [measure(name, int(total)) for name, total in asked.items()]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
