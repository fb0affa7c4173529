import assert from "node:assert/strict";
import { filesOf, ROOT } from "./project_files.ts";

/** Files or folders of a row, and what they may import. */
interface Rule {
  readonly paths: readonly string[];
  readonly mayImport: readonly string[];
}

/** What everybody may import, as ARCHITECTURE.md says above its table. */
const SHARED = ["lib/clock.ts", "lib/log.ts", "lib/kube/objects.ts"];

/** Reads the table of ARCHITECTURE.md that has the column "May import". */
function readRules(document: string): Rule[] {
  const [, table = ""] = /^\| .*\| May import +\|\n\|[-| ]+\n((?:\|.*\n)+)/m.exec(document) ?? [];
  const code = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, path = ""]) => path);
  return table.trimEnd().split("\n").map((row) => {
    const cells = row.split("|").slice(1, -1);
    return { paths: code(cells[0] ?? ""), mayImport: code(cells.at(-1) ?? "") };
  });
}

/** The rule of a file: that of the longest path that it lies in. */
function ruleOf(file: string, rules: readonly Rule[]): Rule | undefined {
  const lengthOf = (rule: Rule) =>
    Math.max(0, ...rule.paths.filter((path) => lies(file, path)).map((path) => path.length));
  const [rule] = rules.toSorted((a, b) => lengthOf(b) - lengthOf(a));
  return rule !== undefined && lengthOf(rule) > 0 ? rule : undefined;
}

function lies(file: string, path: string): boolean {
  return path.endsWith("/") ? file.startsWith(path) : file === path;
}

/** Paths, from the root of the checkout, of the project's own modules that a module imports. */
function importsOf(file: string, source: string): string[] {
  const specifiers = source.matchAll(/^(?:import|export)\b[^;"]*?"(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gms);
  return [...specifiers].map(([, statically, dynamically]) =>
    new URL(statically ?? dynamically ?? "", `file:///${file}`).pathname.slice(1)
  );
}

Deno.test("imports are those that ARCHITECTURE.md allows", async () => {
  const rules = readRules(await Deno.readTextFile(`${ROOT}/ARCHITECTURE.md`));
  assert.ok(rules.length > 10, `only ${rules.length} rules were found`);
  const breaches: string[] = [];
  for await (const file of filesOf(".", /^(main\.ts|(lib|webhook|default-ca-package)\/.*\.ts)$/)) {
    // Tests, and what only they use, may import what they like.
    if (/(_test\.ts|\/test_[^/]*\.ts)$/.test(file)) continue;
    const rule = ruleOf(file, rules);
    if (rule === undefined) {
      breaches.push(`${file} is in no row`);
      continue;
    }
    const allowed = [...rule.paths, ...rule.mayImport, ...SHARED];
    for (const imported of importsOf(file, await Deno.readTextFile(`${ROOT}/${file}`))) {
      if (!allowed.some((path) => lies(imported, path))) breaches.push(`${file} imports ${imported}`);
    }
  }
  assert.deepEqual(breaches, []);
});
