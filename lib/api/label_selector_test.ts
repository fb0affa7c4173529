import assert from "node:assert/strict";
import type { LabelSelectorSpec } from "./bundle.ts";
import { LabelSelectorError, parseLabelSelector } from "./label_selector.ts";

const expression = (key: string, operator: string, ...values: string[]): LabelSelectorSpec => ({
  matchExpressions: [{ key, operator, values }],
});

const selectors: {
  name: string;
  selector: LabelSelectorSpec | undefined;
  text: string;
  matching: (Record<string, string> | undefined)[];
  other: (Record<string, string> | undefined)[];
}[] = [
  {
    name: "absent matches nothing",
    selector: undefined,
    text: "",
    matching: [],
    other: [undefined, {}, { a: "b" }],
  },
  {
    name: "empty matches everything",
    selector: {},
    text: "",
    matching: [undefined, {}, { a: "b" }],
    other: [],
  },
  {
    name: "empty parts match everything",
    selector: { matchLabels: {}, matchExpressions: [] },
    text: "",
    matching: [{}],
    other: [],
  },
  {
    name: "label",
    selector: { matchLabels: { a: "b" } },
    text: "a=b",
    matching: [{ a: "b", c: "" }],
    other: [undefined, { a: "c" }, { b: "b" }],
  },
  {
    name: "empty value",
    selector: { matchLabels: { a: "" } },
    text: "a=",
    matching: [{ a: "" }],
    other: [{}],
  },
  {
    name: "In",
    selector: expression("a", "In", "z", "y"),
    text: "a in (y,z)",
    matching: [{ a: "y" }],
    other: [{}, { a: "x" }],
  },
  {
    name: "In with one value",
    selector: expression("a", "In", "y"),
    text: "a in (y)",
    matching: [{ a: "y" }],
    other: [{}],
  },
  {
    name: "NotIn",
    selector: expression("a", "NotIn", "y"),
    text: "a notin (y)",
    matching: [{}, { a: "x" }],
    other: [{ a: "y" }],
  },
  {
    name: "Exists",
    selector: expression("a", "Exists"),
    text: "a",
    matching: [{ a: "" }],
    other: [{}, undefined],
  },
  {
    name: "DoesNotExist",
    selector: expression("a", "DoesNotExist"),
    text: "!a",
    matching: [{}, undefined],
    other: [{ a: "" }],
  },
  {
    name: "sorted by key, all must hold",
    selector: {
      matchLabels: { "c.example/d": "e", b: "1" },
      matchExpressions: [{ key: "a", operator: "Exists" }, { key: "b", operator: "NotIn", values: ["2"] }],
    },
    text: "a,b=1,b notin (2),c.example/d=e",
    matching: [{ a: "", b: "1", "c.example/d": "e" }],
    other: [{ b: "1", "c.example/d": "e" }],
  },
  {
    name: "names of Object's members",
    selector: expression("constructor", "Exists"),
    text: "constructor",
    matching: [{ constructor: "x" }],
    other: [{}],
  },
];

for (const { name, selector, text, matching, other } of selectors) {
  Deno.test(`label selector: ${name}`, () => {
    const parsed = parseLabelSelector(selector);
    assert.equal(parsed.toString(), text);
    assert.equal(parsed.empty, selector !== undefined && text === "");
    for (const labels of matching) assert.ok(parsed.matches(labels), JSON.stringify(labels));
    for (const labels of other) assert.ok(!parsed.matches(labels), JSON.stringify(labels));
  });
}

const key =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
  "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const value =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', " +
  "and must start and end with an alphanumeric character " +
  "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const errors: [string, LabelSelectorSpec, string][] = [
  ["operator", expression("a", "Gt", "1"), '"Gt" is not a valid label selector operator'],
  [
    "no values",
    expression("a", "In"),
    "values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty",
  ],
  [
    "values",
    expression("a", "Exists", "b"),
    'values: Invalid value: ["b"]: values set must be empty for exists and does not exist',
  ],
  ["key", expression("-a", "Exists"), `key: Invalid value: "-a": name part ${key}`],
  [
    "empty key",
    expression("", "Exists"),
    `key: Invalid value: "": name part must be non-empty; name part ${key}`,
  ],
  ["value", { matchLabels: { a: "b c" } }, `values[0][a]: Invalid value: "b c": ${value}`],
  [
    "long value",
    { matchLabels: { a: "b".repeat(64) } },
    `values[0][a]: Invalid value: "${"b".repeat(64)}": must be no more than 63 bytes`,
  ],
  [
    "several",
    expression("a/b/c", "In", "-"),
    `[key: Invalid value: "a/b/c": a valid label key ${key} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName'), ` +
    `values[0][a/b/c]: Invalid value: "-": ${value}]`,
  ],
];

for (const [name, selector, message] of errors) {
  Deno.test(`label selector that cannot be parsed: ${name}`, () => {
    assert.throws(() => parseLabelSelector(selector), new LabelSelectorError(message));
  });
}
