#!/usr/bin/env python3
"""Checks what is in deploy/ without running it: schemas, references, and names that have to exist.

Prints each problem, and ends with exit code 1 if there is one. --root is a copy of the project's folders deploy,
nats and grafana; tools and programs are always the project's own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import alerts
from resources import (
    PROJECT, SERVER, SERVICES, TOOLS, component, compose, data, environment, files, image, image_environment, of_kind,
    rendered, server_hosts, workloads,
)

import jsonschema_rs  # of schemathesis, which resources.py has put into the path

# The oldest that the manifests are for, and the newest.
VERSIONS = ["v1.31.0", "v1.37.0"]
# The best is 0, the worst 100: a tenth of what systemd-analyze prints is a point.
EXPOSURE = {"moliceiro-ingest.service": 16}
USUAL_EXPOSURE = 13
NATS_SERVER = PROJECT / ".deps/bin/nats-server"


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return done.returncode, done.stdout + done.stderr


# --- schemas ---


def kubernetes_schemas(version):
    text = (TOOLS / f"kubernetes/{version}/_definitions.json").read_text()
    definitions = json.loads(text.replace("/api/_definitions.json#", "#"))["$defs"]
    found = {}
    for name, schema in definitions.items():
        properties = schema.get("properties", {})
        kinds = properties.get("kind", {}).get("enum", []) if "apiVersion" in properties else []
        for kind in kinds:
            for api in properties["apiVersion"].get("enum", []):
                found[api, kind] = name
    return found, definitions


def check_resource_schemas(resources):
    custom = []
    for version in VERSIONS:
        kinds, definitions = kubernetes_schemas(version)
        validators = {}
        for resource in resources:
            key = resource["apiVersion"], resource["kind"]
            what = f"{key[1]} {resource['metadata']['name']}"
            if key not in kinds:
                custom.append(resource)
                continue
            if key not in validators:
                schema = {"$ref": f"#/$defs/{kinds[key]}", "$defs": definitions}
                validators[key] = jsonschema_rs.validator_for(schema)
            for error in validators[key].iter_errors(resource):
                yield f"{what}, {version}: {'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
    if custom:
        checker = Path(__file__).with_name("custom-resources.mjs")
        node = TOOLS / "bin/node"
        _, problems = output(node, checker, TOOLS / "deploy", input=json.dumps(custom[: len(custom) // len(VERSIONS)]))
        yield from problems.splitlines()


# --- references ---


def check_references(resources):
    pods = []
    for workload in workloads(resources):
        template = workload["spec"]["template"]
        pods.append((template["metadata"]["labels"], template["spec"]))
    ports = {name: port["containerPort"] for _, pod in pods for c in pod["containers"] for port in c["ports"] for name in [port["name"]]}

    def selected(selector):
        wanted = selector.get("matchLabels", {})
        expressions = selector.get("matchExpressions", [])
        return [
            pod for labels, pod in pods
            if all(labels.get(key) == value for key, value in wanted.items())
            and all(labels.get(e["key"]) in e["values"] for e in expressions)
        ]

    for resource in resources:
        what = f"{resource['kind']} {resource['metadata']['name']}"
        spec = resource.get("spec", {})
        kind = resource["kind"]
        if kind == "Service":
            chosen = selected({"matchLabels": spec["selector"]})
            open_ports = {p["containerPort"] for pod in chosen for c in pod["containers"] for p in c["ports"]}
            if len(chosen) != 1:
                yield f"{what} selects {len(chosen)} kinds of pods"
            for port in spec["ports"]:
                if port["port"] not in open_ports:
                    yield f"{what}: no container has port {port['port']}"
        elif kind in ["PodDisruptionBudget", "Deployment", "StatefulSet"]:
            if len(selected(spec["selector"])) != 1:
                yield f"{what} selects {len(selected(spec['selector']))} kinds of pods"
        elif kind == "ServiceMonitor":
            services = of_kind(resources, "Service")
            labels = spec["selector"]["matchLabels"].items()
            chosen = [s for s in services if labels <= s["metadata"]["labels"].items()]
            if len(chosen) != 1:
                yield f"{what} selects {len(chosen)} services"
            for endpoint in spec["endpoints"]:
                if not any(endpoint["port"] == port["name"] for s in chosen for port in s["spec"]["ports"]):
                    yield f"{what}: no service has the port {endpoint['port']}"
            if not any(spec.get("jobLabel") in s["metadata"]["labels"] for s in chosen):
                yield f"{what}: no service has the label {spec.get('jobLabel')}"
        elif kind == "NetworkPolicy":
            if not selected(spec["podSelector"]):
                yield f"{what} selects no pod"
            for rule in spec.get("ingress", []) + spec.get("egress", []):
                for peer in rule.get("from", []) + rule.get("to", []):
                    if "podSelector" in peer and not selected(peer["podSelector"]):
                        yield f"{what}: a rule names no pod"
                for port in rule.get("ports", []):
                    if port["port"] not in {53, *ports, *ports.values()}:
                        yield f"{what}: no container has port {port['port']}"
    budgets = {b["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for b in of_kind(resources, "PodDisruptionBudget")}
    for workload in workloads(resources):
        if component(workload) not in budgets:
            yield f"{component(workload)} has no PodDisruptionBudget"
        yield from check_pod(resources, workload)


def check_pod(resources, workload):
    what = workload["metadata"]["name"]
    pod = workload["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or pod.get("automountServiceAccountToken") is not False:
        yield f"{what} may run as root, or has a token of the cluster"
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if not own.get("readOnlyRootFilesystem") or own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{what}: its root may be written, or it may gain privileges"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{what} has no limit of memory"
        names = {port["name"] for port in container["ports"]}
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
            if container.get(probe, {}).get("httpGet", {}).get("port") not in names:
                yield f"{what}: {probe} does not name one of its ports"
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"{what}: there is no volume {mount['name']}"
        try:
            environment(resources, container, "moliceiro-nats-0")
            found = files(resources, pod, container)
        except (KeyError, StopIteration) as error:
            yield f"{what} names a ConfigMap, a Secret or a key that does not exist: {error!r}"
            continue
        arguments = container.get("command", []) + container.get("args", [])
        for option, path in zip(arguments, arguments[1:]):
            if option == "--config" and path not in found:
                yield f"{what}: {path} is not mounted"


def check_alerts(arguments):
    """They are those of Prometheus, and of the resource that the cluster gets."""
    if (arguments.root / alerts.RESOURCE).read_text() != alerts.resource(arguments.root):
        yield f"{alerts.RESOURCE} is not what {alerts.RULES} says: run scripts/deploy/alerts.py"


def check_certificates(arguments, resources):
    """A client finds the host that it connects to in the certificate of the server."""
    settings = next(data(found) for found in of_kind(resources, "ConfigMap") if "moliceiro.toml" in found["data"])
    named = re.findall(r"(\w+)://([\w.-]+):4222", settings["moliceiro.toml"])
    for workload in workloads(resources):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            for variable in container.get("env", []):
                named += re.findall(r"(\w+)://[^@]+@([\w.-]+):6222", variable.get("value", ""))
    for scheme, host in named:
        if scheme != "tls":
            yield f"{host} is reached without TLS"
        if host not in server_hosts(arguments.root):
            yield f"no certificate is made for {host}: see kustomization.yaml"


def check_kubernetes(arguments):
    yield from check_alerts(arguments)
    if not (TOOLS / "bin/kubectl").exists():
        print(f"there is no kubectl for this machine: {arguments.root}/deploy/kubernetes is not checked", file=sys.stderr)
        return
    try:
        resources, scaled = rendered(arguments.root, "kubernetes", "keda")
    except ValueError as error:
        yield str(error)
        return
    yield from check_resource_schemas(resources + of_kind(scaled, "ScaledObject"))
    yield from check_scaled(arguments, scaled)
    yield from check_certificates(arguments, resources)
    problems = list(check_references(resources))
    yield from problems
    for workload in workloads(resources) if not problems else []:
        pod = workload["spec"]["template"]["spec"]
        for container in pod["containers"]:
            variables = environment(resources, container, "moliceiro-nats-0")
            mounted = files(resources, pod, container)
            what = workload["metadata"]["name"]
            command = container.get("command") or ["moliceiro", *container["args"]]
            yield from check_command(arguments, what, command, variables, mounted)
            yield from check_metrics_port(arguments, what, command, {p["name"]: p["containerPort"] for p in container["ports"]})


def check_scaled(arguments, resources):
    _, metrics = output(arguments.program, "metrics")
    for scaled in of_kind(resources, "ScaledObject"):
        what = f"ScaledObject {scaled['metadata']['name']}"
        name = scaled["spec"].get("scaleTargetRef", {}).get("name")
        chosen = [w for w in workloads(resources) if w["metadata"]["name"] == name]
        if len(chosen) != 1:
            yield f"{what}: there is no {name}"
        elif "replicas" in chosen[0]["spec"]:
            yield f"{what}: {name} has a number of replicas of its own"
        for trigger in scaled["spec"].get("triggers", []):
            for metric in re.findall(r"moliceiro_\w+", trigger["metadata"].get("query", "")):
                if f"`{metric}`" not in metrics:
                    yield f"{what}: there is no metric {metric}"


def check_metrics_port(arguments, what, command, ports):
    listen = image_environment(arguments.root)["MOLICEIRO__METRICS__LISTEN"]
    if command[0] == "moliceiro" and not listen.endswith(f":{ports.get('metrics')}"):
        yield f"{what}: its metrics are at {listen}, not at port {ports.get('metrics')}"


# --- names ---


def check_command(arguments, what, command, variables, mounted):
    """Whether a program takes these options, settings and files."""
    is_server = command[0] == SERVER
    program = [NATS_SERVER] if is_server else [arguments.program, command[1]]
    if not is_server and (command[0] not in ["moliceiro", "/usr/bin/moliceiro"] or command[1] not in SERVICES):
        yield f"{what}: {command[:2]} does not start a service"
        return
    _, usage = output(*program, "--help")
    for option in (word.split("=")[0] for word in command if word.startswith("-")):
        if not re.search(rf"(?<!\S){re.escape(option)}(?![\w-])", usage.replace(",", " ")):
            yield f"{what}: {command[0]} has no option {option}"
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for path, text in mounted.items():
            paths[path] = Path(folder) / path.lstrip("/")
            paths[path].parent.mkdir(parents=True, exist_ok=True)
            for other in mounted:
                text = text.replace(f'"{other}"', f'"{folder}{other}"')
            for missing in re.findall(r'(?m)^ *tls_\w+ = "(/etc/.+)"$', text):
                yield f"{what}: {missing} is not mounted"
            paths[path].write_text(text)
        config = [str(paths[b]) for a, b in zip(command, command[1:]) if a == "--config" and b in paths]
        clean = {"PATH": os.environ["PATH"], **variables}
        if is_server:
            code, said = output(NATS_SERVER, "-t", "--config", *config, env=clean)
        else:
            options = ["--config", *config] if config else []
            code, said = output(arguments.program, "config", *options, env=clean)
        if code:
            yield f"{what}: {said.strip()}"


def check_compose(arguments):
    found = compose(arguments.root)
    schema = json.loads((TOOLS / "deploy/node_modules/dclint/schemas/compose.schema.json").read_text())
    for error in jsonschema_rs.validator_for(schema).iter_errors(found):
        yield f"compose.yml: {'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
    folder = arguments.root / "deploy"
    with tempfile.TemporaryDirectory() as made:
        output(arguments.root / "deploy/make-passwords", made)
        lines = (Path(made) / "passwords.env").read_text().splitlines()
        passwords = dict(line.split("=", 1) for line in lines)
    for name, service in found["services"].items():
        what = f"compose.yml, {name}"
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{what}: its root may be written, or it may gain privileges"
        if "mem_limit" not in service:
            yield f"{what} has no limit of memory"
        for used in list(service.get("depends_on", [])) + service.get("networks", []):
            if used not in {**found["services"], **found["networks"]}:
                yield f"{what}: there is no {used}"
        mounted = {}
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                path = folder / source
                if not path.is_file():
                    yield f"{what}: there is no {source}"
                else:
                    mounted[target] = path.read_text()
            elif source not in found["volumes"]:
                yield f"{what}: there is no volume {source}"
        variables = dict(passwords) if "env_file" in service else {}
        for key, value in service.get("environment", {}).items():
            needed = re.fullmatch(r"\$\{(\w+):\?.*\}", str(value))
            if needed and needed[1] not in passwords:
                yield f"{what}: make-passwords makes no {needed[1]}"
            variables[key] = passwords.get(needed[1], "") if needed else str(value)
        command = service.get("entrypoint", ["moliceiro"]) + service["command"]
        yield from check_command(arguments, what, command, variables, mounted)


def check_containers(arguments):
    path = arguments.root / "deploy/containers/Containerfile"
    code, said = output(TOOLS / "bin/hadolint", path)
    if code or said:
        yield said.strip() or f"hadolint ends with exit code {code}"
    last = image(arguments.root)[-1]
    names = [name for name, _ in last]
    if len(image(arguments.root)) < 2:
        yield "Containerfile has one stage"
    if ("USER", "10001:10001") not in last or "HEALTHCHECK" not in names:
        yield "Containerfile: it runs as root, or has no health check"
    code, said = output(arguments.program, "config", env={"PATH": os.environ["PATH"], **image_environment(arguments.root)})
    if code:
        yield f"Containerfile: {said.strip()}"
    tag = re.search(r'(?m)^version = "(.+)"', (PROJECT / "Cargo.toml").read_text())[1]
    for name in ["containers/Containerfile", "compose.yml"]:
        text = (arguments.root / "deploy" / name).read_text()
        for found in re.findall(r"moliceiro:(\d[\w.]*)", text):
            if found != tag:
                yield f"{name}: the version is {tag}, not {found}"


# --- units ---


def check_units(arguments):
    folder = arguments.root / "deploy/systemd"
    manifest = (PROJECT / "cli/Cargo.toml").read_text()
    units = sorted(folder.glob("*.service"))
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        pages = root / "pages"
        output(arguments.program, "man", pages)
        for path in ["usr/bin/moliceiro", "usr/lib/moliceiro/nats-server", "usr/bin/kill"]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("#!/bin/sh\n")
            (root / path).chmod(0o755)
        (root / "bin").symlink_to("usr/bin")
        system = root / "usr/lib/systemd/system"
        system.mkdir(parents=True)
        for target in ["sysinit", "basic", "shutdown", "network-online", "multi-user"]:
            (system / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
        for unit in units:
            (system / unit.name).write_text(unit.read_text())
        for unit in units:
            name = unit.name.replace("@.", "@1.")
            _, said = output("systemd-analyze", "verify", "--man=no", f"--root={root}", name)
            if said:
                yield f"{unit.name}: systemd-analyze verify: {said.strip()}"
            most = EXPOSURE.get(unit.name, USUAL_EXPOSURE)
            code, said = output(
                "systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={most}", f"--root={root}", name
            )
            if code:
                yield f"{unit.name}: systemd-analyze security: {said.strip().splitlines()[-1]}, more than {most / 10}"
            elif arguments.verbose:
                print(f"{unit.name}: {said.strip().splitlines()[-1]}")
            text = unit.read_text()
            page = re.search(r"(?m)^Documentation=man:(\S+)\(1\)$", text)
            if not page or not (pages / f"{page[1]}.1").exists():
                yield f"{unit.name}: its manual page does not exist"
            if "MemoryMax=" not in text or "User=moliceiro" not in text:
                yield f"{unit.name} has no limit of memory, or runs as root"
            start = re.search(r"(?m)^ExecStart=(.+)$", text)[1].split()
            if start[0] == SERVER and '"usr/lib/moliceiro/"' not in manifest:
                yield f"{unit.name}: the package has no {SERVER}"
            values = dict(re.findall(r"(?m)^Environment=(\w+)=(.+)$", text))
            variables = {key: value.replace("%i", "1") for key, value in values.items()}
            mounted = {"/etc/moliceiro/moliceiro.toml": (arguments.root / "deploy/debian/moliceiro.toml").read_text()}
            mounted["/etc/moliceiro/nats-server.conf"] = (arguments.root / "nats/server.conf").read_text()
            if start[0] == SERVER:
                variables |= {"MOLICEIRO_USER": "moliceiro", "MOLICEIRO_PASSWORD": "p"}
            yield from check_command(arguments, unit.name, start, variables, mounted)


CHECKS = {"kubernetes": check_kubernetes, "compose": check_compose, "containers": check_containers, "units": check_units}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"some of {', '.join(CHECKS)}; default: all")
    parser.add_argument("--root", type=Path, default=PROJECT)
    parser.add_argument("--program", type=Path, default=PROJECT / "target/debug/moliceiro")
    parser.add_argument("--verbose", action="store_true", help="print the exposure of each unit")
    arguments = parser.parse_args()
    problems = [problem for check in arguments.checks or CHECKS for problem in CHECKS[check](arguments)]
    print("\n".join(problems), end="\n" if problems else "")
    sys.exit(1 if problems else 0)


main()
