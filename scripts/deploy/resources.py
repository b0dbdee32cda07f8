"""What deploy/ describes, as data: containers with their commands, environments and files."""

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
TOOLS = PROJECT / ".deps-tests"
sys.path.insert(0, str(TOOLS / "schemathesis"))
import yaml  # noqa: E402

# The parser of libyaml, where the wheel has it, is many times as fast as the one in Python.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SERVICES = ["ingest", "detector", "aggregator"]
SERVER = "/usr/lib/moliceiro/nats-server"


def server_hosts(root):
    """The hosts that the certificates of the servers are for, of the command in kustomization.yaml."""
    text = (root / "deploy/kubernetes/kustomization.yaml").read_text().replace("\\\n#", "")
    return re.search(r"(?m)^# +nats/make-certificates deploy/kubernetes/tls (.+)$", text)[1].split()


def rendered(root, *names, addresses=()):
    """The resources that each of these folders of deploy is built into, with passwords and certificates of their own.
    `addresses`: of servers, besides their hosts.
    """
    with tempfile.TemporaryDirectory() as made:
        for part in ["deploy", "grafana"]:
            shutil.copytree(root / part, Path(made) / part, ignore=shutil.ignore_patterns("*.env", "tokens.toml", "tls"))
        (Path(made) / "nats").mkdir()
        for part in ["kustomization.yaml", "accounts.conf"]:
            shutil.copy(root / "nats" / part, Path(made) / "nats" / part)
        folder = Path(made) / "deploy/kubernetes"
        subprocess.run([Path(made) / "deploy/make-passwords", folder], check=True, capture_output=True)
        hosts = [*server_hosts(root), *addresses]
        subprocess.run([root / "nats/make-certificates", folder / "tls", *hosts], check=True, capture_output=True)
        commands = [[TOOLS / "bin/kubectl", "kustomize", folder.with_name(name)] for name in names]
        built = [subprocess.run(command, capture_output=True, text=True) for command in commands]
    for folder in built:
        if folder.returncode:
            raise ValueError(f"kubectl kustomize: {folder.stderr.strip()}")
    return [[found for found in yaml.load_all(folder.stdout, LOADER) if found] for folder in built]


def compose(root):
    return yaml.load((root / "deploy/compose.yml").read_text(), LOADER)


def of_kind(resources, kind):
    return [resource for resource in resources if resource["kind"] == kind]


def named(resources, kind, name):
    return next(r for r in of_kind(resources, kind) if r["metadata"]["name"] == name)


def workloads(resources):
    return of_kind(resources, "StatefulSet") + of_kind(resources, "Deployment")


def component(resource):
    return resource["metadata"]["labels"]["app.kubernetes.io/component"]


def data(resource):
    """The files of a ConfigMap or a Secret."""
    plain = resource.get("data") or {}
    if resource["kind"] == "Secret":
        return {key: base64.b64decode(value).decode() for key, value in plain.items()}
    return plain


def environment(resources, container, pod_name):
    """The environment of a container, with what its Secrets have."""
    values = {}
    for source in container.get("envFrom", []):
        values.update(data(named(resources, "Secret", source["secretRef"]["name"])))
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            key = source["secretKeyRef"]
            value = data(named(resources, "Secret", key["name"]))[key["key"]]
        elif "fieldRef" in source:
            value = {"metadata.name": pod_name}[source["fieldRef"]["fieldPath"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], variable["value"])
        values[variable["name"]] = value
    return values


def files(resources, pod, container):
    """The files that a container gets from ConfigMaps and Secrets, by path."""
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    found = {}
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        sources = volume.get("projected", {}).get("sources", [volume])
        for source in sources:
            for field, kind in [("configMap", "ConfigMap"), ("secret", "Secret")]:
                if field in source:
                    name = source[field].get("name") or source[field]["secretName"]
                    all_files = data(named(resources, kind, name))
                    items = source[field].get("items") or [{"key": key, "path": key} for key in all_files]
                    for item in items:
                        found[f"{mount['mountPath']}/{item['path']}"] = all_files[item["key"]]
    return found


def image(root):
    """The instructions of the last stage of the Containerfile, as (name, value)."""
    text = (root / "deploy/containers/Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    stages = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, value = line.split(None, 1)
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, value.strip()))
    return stages


def image_environment(root):
    words = " ".join(value for name, value in image(root)[-1] if name == "ENV")
    return dict(word.split("=", 1) for word in words.split())


def json_value(root, instruction):
    value = next(value for name, value in image(root)[-1] if name == instruction)
    return json.loads(value[value.index("["):])
