/**
 * Writes docs/helm-values.md, from the chart's values.yaml and that of the Go project's chart. With `--check` it only tells
 * whether the file is what it would write.
 */
import { parse } from "yaml";
import { goModuleDirectory } from "../tests/cluster/go_module.ts";
import { type ChartValue, readChartValues, valueAt } from "./chart_values.ts";

/** The values of the Go project's chart. */
export interface PeerValues {
  /** Paths of all its values, those without a default too. */
  readonly paths: readonly string[];
  /** Its values.yaml, parsed. */
  readonly defaults: unknown;
}

const CHART = new URL("./charts/trust-manager/", import.meta.url);
const DOCUMENT = new URL("../docs/helm-values.md", import.meta.url);
const PEER = new URL("../tests/peer", import.meta.url).pathname;

const HEAD = `# Values of the Helm chart

Made from the chart's \`values.yaml\` and that of the Go project's chart, v0.25.0; do not edit it, but run
\`deno run --allow-all deploy/helm_values_document.ts\`. How to install: [install.md](install.md).

The third column says what the value is there: the same, another default, or that only this chart has the value. Each value of the
Go project's chart is one of this one, so that a values file needs no change. Empty strings, lists and maps are the same as no
value. Unknown values, and values of a wrong type, fail with their path.
`;

/** Reads the values of the Go project's chart, which tests/peer/go.mod pins. */
export async function readPeerValues(): Promise<PeerValues> {
  const chart = `${await goModuleDirectory(
    PEER,
    "github.com/cert-manager/trust-manager",
  )}/deploy/charts/trust-manager`;
  const schema: { $defs: Record<string, { properties?: object }> } = JSON.parse(
    await Deno.readTextFile(`${chart}/values.schema.json`),
  );
  const prefix = "helm-values.";
  const paths = Object.entries(schema.$defs)
    .filter(([name, { properties }]) => name.startsWith(prefix) && properties === undefined)
    .map(([name]) => name.slice(prefix.length));
  return { paths, defaults: parse(await Deno.readTextFile(`${chart}/values.yaml`)) };
}

/** Reads the values of this chart. */
export async function readOwnValues(): Promise<ChartValue[]> {
  return readChartValues(await Deno.readTextFile(new URL("values.yaml", CHART)));
}

/** The document, before it is formatted. Pure. */
export function helmValuesDocument(values: readonly ChartValue[], peer: PeerValues): string {
  const lines = [HEAD];
  let section: string | undefined;
  for (const value of values) {
    if (value.section !== section) {
      section = value.section;
      lines.push("", `## ${section}`, "", "| Value | Default | Go project | Meaning |", "|---|---|---|---|");
    }
    const cells = [
      `\`${value.path}\``,
      inWords(value.default),
      comparison(value, peer),
      value.text.replaceAll("|", "\\|"),
    ];
    lines.push(`| ${cells.join(" | ")} |`);
  }
  return `${lines.join("\n")}\n`;
}

/** What the value is in the Go project's chart. Pure. */
export function comparison({ path, default: own }: ChartValue, peer: PeerValues): "same" | "new" | string {
  if (!peer.paths.includes(path)) return "new";
  const other = valueAt(peer.defaults, path.split("."));
  return inWords(own) === inWords(other) ? "same" : inWords(other);
}

function inWords(value: unknown): string {
  const empty = typeof value === "object" && value !== null && Object.keys(value).length === 0;
  if (value === undefined || value === null || value === "" || empty) return "empty";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

async function formatted(markdown: string): Promise<string> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--quiet", "--ext=md", "-"],
    cwd: new URL("..", import.meta.url).pathname,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(markdown));
  await writer.close();
  const [text, { success }] = await Promise.all([process.stdout.text(), process.status]);
  if (!success) throw new Error("Failed to format the document");
  return text;
}

/** The document as it should be, and as it is. */
export async function helmValuesDocuments(): Promise<{ wanted: string; present: string }> {
  const wanted = await formatted(helmValuesDocument(await readOwnValues(), await readPeerValues()));
  const present = await Deno.readTextFile(DOCUMENT).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  return { wanted, present };
}

if (import.meta.main) {
  const { wanted, present } = await helmValuesDocuments();
  if (!Deno.args.includes("--check")) await Deno.writeTextFile(DOCUMENT, wanted);
  else if (wanted !== present) {
    console.error(
      "docs/helm-values.md is not up to date: run deno run --allow-all deploy/helm_values_document.ts",
    );
    Deno.exit(1);
  }
}
