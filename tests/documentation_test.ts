import assert from "node:assert/strict";
import { Metrics } from "../lib/metrics.ts";
import { helpText } from "../lib/options.ts";
import { WebhookMetrics } from "../webhook/webhook_metrics.ts";
import { filesOf, ROOT } from "./project_files.ts";

Deno.test("every export of lib/, webhook/ and default-ca-package/ has a doc comment", async () => {
  const without: string[] = [];
  for await (const file of filesOf(".", /^(lib|webhook|default-ca-package)\/.*(?<!_test)\.ts$/)) {
    const lines = (await Deno.readTextFile(`${ROOT}/${file}`)).split("\n");
    if (file === "lib/prometheus.ts") continue; // names of prom-client, passed on
    lines.forEach((line, index) => {
      const [, name] =
        /^export (?:async |abstract )?(?:function\*?|class|interface|type|const|enum) (\w+)/.exec(line) ??
          [];
      const before = lines[index - 1] ?? "";
      // The second and later of overloads, and of a type with the value of the same name, go without.
      const repeated = lines.slice(0, index).some((other) => other.match(/^export .* (\w+)/)?.[1] === name);
      if (name !== undefined && !before.endsWith("*/") && !repeated) without.push(`${file}: ${name}`);
    });
  }
  assert.deepEqual(without, []);
});

Deno.test("every link in a document leads to a file or heading", async () => {
  const broken: string[] = [];
  for await (const file of filesOf(".", /\.md$/)) {
    const text = await Deno.readTextFile(`${ROOT}/${file}`);
    for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const linked = path === "" ? file : `${file.replace(/[^/]*$/, "")}${path}`;
      const content = await readDocument(linked);
      if (content === undefined || (anchor !== undefined && !headings(content).includes(anchor))) {
        broken.push(`${file}: ${target}`);
      }
    }
  }
  assert.deepEqual(broken, []);
});

Deno.test("every task, file and folder that a document names in code is there", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}/deno.json`));
  const missing: string[] = [];
  for await (const file of filesOf(".", /\.md$/)) {
    const text = await Deno.readTextFile(`${ROOT}/${file}`);
    for (const [, task = ""] of text.matchAll(/\btask ([a-z][a-z:]*)/g)) {
      if (!(task in tasks)) missing.push(`${file}: task ${task}`);
    }
    for (
      const [, path = ""] of text.matchAll(
        /`((?:lib|tests|deploy|docs|demo|webhook|bench|default-ca-package)\/[\w./-]*)`/g,
      )
    ) {
      if (await stat(path) === undefined) missing.push(`${file}: ${path}`);
    }
  }
  assert.deepEqual(missing, []);
});

Deno.test("docs/operations.md has every flag and every metric, and no others", async () => {
  const text = await Deno.readTextFile(`${ROOT}/docs/operations.md`);
  const flags = (source: string) => new Set([...source.matchAll(/--[a-z][a-z-]+/g)].map(([flag]) => flag));
  const known = flags(helpText());
  const told = flags(text);
  // Of kubectl and of the operator's own commands.
  const others = new Set(["--name", "--field-selector", "--show-managed-fields", "--help"]);
  assert.deepEqual([...known].filter((flag) => !told.has(flag)), []);
  assert.deepEqual([...told].filter((flag) => !known.has(flag) && !others.has(flag)), []);

  const { registry } = new Metrics(0, "0");
  new WebhookMetrics(registry);
  const metrics = registry.getMetricsAsArray().map(({ name }) => name);
  const section = text.slice(text.indexOf("## Metrics"), text.indexOf("## Logs"));
  const names = new Set(
    [...section.matchAll(/^\|.*/gm)].flatMap(([row]) =>
      [...(row.split("|")[1] ?? "").matchAll(/`(\w+)`/g)].map(([, name = ""]) => name)
    ),
  );
  assert.deepEqual([...names].sort(), metrics.toSorted());
});

Deno.test("the task `start` runs with the permissions of build.ts", async () => {
  const { PERMISSIONS, RUNTIME_FLAGS } = await import("../build.ts");
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}/deno.json`));
  assert.equal(tasks.start.command, `DENO_TLS_CA_STORE= deno run ${PERMISSIONS.join(" ")} main.ts`);
  assert.equal(
    tasks["bench:formats"].command,
    `deno run ${RUNTIME_FLAGS.join(" ")} --allow-read bench/formats.ts`,
    "key stores are measured as the operator makes them",
  );
});

Deno.test("the image has the environment of build.ts", async () => {
  const { OPERATOR_ENVIRONMENT } = await import("../build.ts");
  const set = (await Deno.readTextFile(`${ROOT}/Dockerfile`)).matchAll(/^ENV (\w+)=(\S*)$/gm);
  assert.deepEqual(
    Object.fromEntries([...set].map(([, name, value]) => [name, value])),
    OPERATOR_ENVIRONMENT,
  );
});

Deno.test("docs/guarantees.md names tests that are there", async () => {
  const document = await Deno.readTextFile(`${ROOT}/docs/guarantees.md`);
  // `file`: title, where the title of tests that are made of a table ends with an ellipsis in place of what varies.
  const named = [...document.matchAll(/^\|.*$/gm)].flatMap((
    [row],
  ) => [...row.matchAll(/`([\w/.]+_test\.ts)`: (.+?)(?=<br>| *\|)/g)]);
  assert.ok(named.length > 40, `only ${named.length} tests are named`);
  const missing: string[] = [];
  for (const [, file = "", title = ""] of named) {
    const source = await readDocument(file) ?? "";
    const quoted = title.endsWith("…") ? [`\`${title.slice(0, -1)}\${`] : [`"${title}"`, `\`${title}\``];
    if (!quoted.some((text) => source.includes(text))) missing.push(`${file}: ${title}`);
  }
  assert.deepEqual(missing, []);
  // Each row of a table that has such a column names one.
  const rows = [...document.matchAll(/^\| (?!Scenario|-).*$/gm)].map(([row]) => row);
  assert.deepEqual(rows.filter((row) => !/`[\w/.]+_test\.ts`: /.test(row)), []);
});

/** Text of a file; empty for a folder, undefined for what is not there. */
async function readDocument(path: string): Promise<string | undefined> {
  const info = await stat(path);
  if (info === undefined) return undefined;
  return info.isDirectory ? "" : await Deno.readTextFile(`${ROOT}/${path}`);
}

async function stat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(`${ROOT}/${path}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The anchors of a document's headings, as code forges make them. */
function headings(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}
