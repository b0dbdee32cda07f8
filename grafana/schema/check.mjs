// Checks dashboards against Grafana's own types: node check.mjs FOLDER DASHBOARD.json…
// FOLDER contains the node_modules of the package.json beside this file.
//
// Each dashboard becomes a TypeScript constant of the type that Grafana declares, and so do the options and the custom field
// settings of each panel, by its kind. The compiler then finds what is missing, misspelt or of the wrong type.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";

const [folder, ...dashboards] = process.argv.slice(2);
const ts = createRequire(join(resolve(folder), "package.json"))("typescript");

const composable = "@grafana/schema/dist/esm/raw/composable";
const preamble = `
import type { Dashboard, Panel, RowPanel } from "@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen.d.ts";
import type { DataQuery, GraphFieldConfig, TableFieldOptions } from "@grafana/schema";
import type * as BarGauge from "${composable}/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen.d.ts";
import type * as Heatmap from "${composable}/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts";
import type * as Stat from "${composable}/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts";
import type * as Table from "${composable}/table/panelcfg/x/TablePanelCfg_types.gen.d.ts";
import type * as TimeSeries from "${composable}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts";

// @grafana/schema has no type for queries of Prometheus. These are the fields that Grafana's data source reads.
type Query = DataQuery & { expr: string; legendFormat: string; format?: "time_series" | "heatmap" | "table"; instant?: boolean; range?: boolean };

// As in JSON, where the values of enumerations are plain texts.
type Json<T> = T extends string ? \`\${T}\` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
`;

const kinds = {
    bargauge: { options: "BarGauge.Options", custom: "Record<string, never>" },
    heatmap: { options: "Heatmap.Options", custom: "Heatmap.FieldConfig" },
    stat: { options: "Stat.Options", custom: "Record<string, never>" },
    table: { options: "Table.Options", custom: "TableFieldOptions" },
    timeseries: { options: "TimeSeries.Options", custom: "GraphFieldConfig" },
};

function source(dashboard) {
    let text = preamble;
    const constant = (name, type, value) => (text += `export const ${name}: Json<${type}> = ${JSON.stringify(value)};\n`);
    const { panels, ...rest } = dashboard;
    constant("dashboard", "Dashboard", rest);
    for (const panel of panels) {
        const name = `panel_${panel.id}`;
        if (panel.type === "row") {
            constant(name, "RowPanel", panel);
            continue;
        }
        const { targets, options, ...described } = panel;
        constant(name, "Omit<Panel, 'targets' | 'options'>", described);
        const kind = kinds[panel.type] ?? { options: "never", custom: "never" };
        constant(`${name}_options`, kind.options, options);
        constant(`${name}_custom`, kind.custom, panel.fieldConfig.defaults.custom ?? {});
        targets.forEach((target, n) => constant(`${name}_target_${n}`, "Query", target));
    }
    return text;
}

const options = { noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, types: [] };
const files = new Map(dashboards.map((file) => [join(resolve(folder), `${basename(file, ".json")}.ts`), source(JSON.parse(readFileSync(file, "utf8")))]));
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (name) => files.has(name) || fileExists(name);
host.readFile = (name) => files.get(name) ?? readFile(name);
host.getSourceFile = (name, language, ...more) =>
    files.has(name) ? ts.createSourceFile(name, files.get(name), language) : getSourceFile(name, language, ...more);
const found = ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()], options, host));
for (const { file, start, messageText } of found) {
    const line = file && start !== undefined ? file.text.slice(file.text.lastIndexOf("\n", start) + 1).slice(0, 80) : "";
    console.error(`${file ? basename(file.fileName, ".ts") : ""}: ${line}…\n  ${ts.flattenDiagnosticMessageText(messageText, "\n  ")}`);
}
process.exitCode = found.length ? 1 : 0;
