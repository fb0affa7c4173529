import { parse } from "yaml";

/** One value of a Helm chart, as its values.yaml documents it. */
export interface ChartValue {
  /** Such as `app.trust.namespace`. */
  readonly path: string;
  /** Heading that it stands under. */
  readonly section: string;
  /** What it is for, in one line of Markdown. */
  readonly text: string;
  readonly default: unknown;
}

/**
 * Reads the documented values of a values.yaml, in order: keys with a comment right above them. What lies deeper is the default of
 * that value. `## ` begins a section. Pure.
 */
export function readChartValues(yaml: string): ChartValue[] {
  const defaults: unknown = parse(yaml);
  const values: ChartValue[] = [];
  /** Keys that the present line lies in, with their indentation. */
  let open: { key: string; indent: number }[] = [];
  let section = "";
  let comment: string[] = [];
  /** Indentation of the value whose default is being skipped. */
  let within = Infinity;
  for (const line of yaml.split("\n")) {
    const [, spaces = "", rest = ""] = /^( *)(.*)$/.exec(line) ?? [];
    const indent = spaces.length;
    if (rest === "") {
      comment = [];
      continue;
    }
    if (indent > within) continue;
    within = Infinity;
    const heading = /^## (.+)$/.exec(rest)?.[1];
    if (heading !== undefined) {
      section = heading;
      comment = [];
      continue;
    }
    const said = /^# ?(.*)$/.exec(rest)?.[1];
    if (said !== undefined) {
      comment.push(said);
      continue;
    }
    const key = /^([\w.-]+):/.exec(rest)?.[1];
    if (key === undefined) throw new TypeError(`Line is neither a comment nor a key: ${line}`);
    open = [...open.filter((outer) => outer.indent < indent), { key, indent }];
    if (comment.length > 0) {
      const keys = open.map((outer) => outer.key);
      values.push({
        path: keys.join("."),
        section,
        text: comment.join(" "),
        default: valueAt(defaults, keys),
      });
      within = indent;
    }
    comment = [];
  }
  return values;
}

/** What lies at a path; undefined if nothing does. */
export function valueAt(values: unknown, keys: readonly string[]): unknown {
  return keys.reduce<unknown>((inner, key) => Object(inner)[key], values);
}

/** Paths of all that is no map with something in it. */
export function leafPaths(values: unknown, path = ""): string[] {
  if (typeof values !== "object" || values === null || Array.isArray(values)) return [path];
  const entries = Object.entries(values);
  if (entries.length === 0) return [path];
  return entries.flatMap(([key, inner]) => leafPaths(inner, path === "" ? key : `${path}.${key}`));
}
