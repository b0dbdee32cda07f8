// Checks resources of operators against their models. Reads a list of resources from standard input, and prints what is
// wrong. The first argument is the folder with node_modules.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const models = {
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "keda.sh": "@kubernetes-models/keda",
};

// Keys below these are names that people choose.
const CHOSEN = ["matchLabels", "labels", "annotations", "metadata"];

// The models ignore fields that do not exist, as a cluster does. Their types name those that do.
function knownFields(name) {
  const known = new Set(CHOSEN);
  const root = join(folder, "node_modules", name);
  for (const path of readdirSync(root, { recursive: true })) {
    if (!path.endsWith(".d.ts") || path.includes("node_modules")) continue;
    for (const [, field] of readFileSync(join(root, path), "utf8").matchAll(/^\s*"?(\w+)"?\??:/gm)) known.add(field);
  }
  return known;
}

function unknown(value, known, path = "") {
  if (Array.isArray(value)) return value.flatMap((item, index) => unknown(item, known, `${path}/${index}`));
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    ...(known.has(key) ? [] : [`${path}/${key}`]),
    ...(CHOSEN.includes(key) ? [] : unknown(inner, known, `${path}/${key}`)),
  ]);
}

for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const what = `${resource.kind} ${resource.metadata.name}`;
  const group = resource.apiVersion.split("/")[0];
  const name = models[group];
  if (!name) {
    console.log(`${what}: nothing is known of ${resource.apiVersion}`);
    continue;
  }
  try {
    const file = join(folder, "node_modules", name, resource.apiVersion, `${resource.kind}.js`);
    const { [resource.kind]: Model } = await import(pathToFileURL(file));
    new Model(resource).validate();
  } catch (error) {
    console.log(`${what}: ${error.message}`);
  }
  const { spec } = resource;
  for (const path of unknown(spec, knownFields(name), "spec")) console.log(`${what}: there is no field ${path}`);
}
