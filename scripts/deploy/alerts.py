#!/usr/bin/env python3
"""Writes deploy/kubernetes/alerts.yaml: the alerts of grafana/prometheus/rules for the Prometheus operator.

Run it after a change of those. The test of deploy/ refuses a file that says something else.
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
RULES = "grafana/prometheus/rules/moliceiro.yml"
RESOURCE = "deploy/kubernetes/alerts.yaml"

HEAD = f"""\
# scripts/deploy/alerts.py makes this of {RULES}: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: moliceiro
spec:
"""


def resource(root):
    lines = (root / RULES).read_text().splitlines()
    rules = lines[lines.index("groups:"):]
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in rules)


if __name__ == "__main__":
    (PROJECT / RESOURCE).write_text(resource(PROJECT))
