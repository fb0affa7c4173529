import assert from "node:assert/strict";
import { createLogger, type LogFields } from "../../lib/log.ts";
import { FakeClock } from "../fake_clock.ts";
import { askOracle, type OracleRequest } from "./oracle.ts";

const TEXTS = [
  "a-b",
  "/x/y.z:1",
  "b c",
  "",
  'b"c',
  "b=c",
  "b\nERROR c",
  "tab\t",
  "\u001b[31m",
  String.raw`back\slash`,
  String.raw`back\slash and blank`,
  "{x}",
  "ä日本…😀",
  "\u00a0",
  "\u00ad",
  "\u2028",
  "\u200b",
  "\u3000",
  "\ufffd",
  "<>&",
  "[a]",
  "a,b;c'd`|~^",
  "nul\0",
];

interface Line {
  readonly message: string;
  readonly verbosity?: number;
  readonly error?: string;
  readonly with?: LogFields;
  readonly fields?: LogFields;
}

const LINES: readonly Line[] = [
  { message: "Starting" },
  { message: "Synced Bundle", fields: { bundle: "a" } },
  ...TEXTS.map((text) => ({ message: "It happened", fields: { text } })),
  ...TEXTS.map((text) => ({ message: text, error: text, with: { text } })),
  ...[0, 1, 2, 3, 4, 5].map((verbosity) => ({ message: "Chatty", verbosity })),
  { message: "Numbers", fields: { a: 0, b: -1, c: 1.5, d: 90_000, yes: true, no: false } },
  { message: "It failed", error: "why not", with: { watch: "bundles" }, fields: { problem: "odd", n: 1 } },
];

/** The line without its time, which must look like that of `format`. */
function timeless(line: string, format: "text" | "json"): string {
  const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`;
  const pattern = format === "text"
    ? new RegExp(String.raw`^time=${time}\.\d{3}Z `)
    : new RegExp(String.raw`^\{"time":"${time}\.\d{1,9}Z",`);
  assert.match(line, pattern);
  return line.replace(pattern, format === "text" ? "" : "{");
}

function flat(fields: LogFields = {}): (string | number | boolean)[] {
  return Object.entries(fields).flatMap(([key, value]) => value === undefined ? [] : [key, value]);
}

Deno.test("log lines are those of Go's log/slog behind logr, as the Go project sets it up", async (t) => {
  for (const format of ["text", "json"] as const) {
    await t.step(format, async () => {
      const lines: string[] = [];
      const clock = new FakeClock("2030-01-02T03:04:05.678Z");
      // Below the level at which an error brings its stack along.
      const log = createLogger({ format, level: 4, clock, write: (line) => lines.push(line) });
      const asked = LINES.filter(({ verbosity = 0 }) => verbosity <= 4);
      for (const { message, verbosity = 0, error, with: base = {}, fields = {} } of LINES) {
        const logger = log.with(base);
        if (error !== undefined) logger.error(message, new Error(error), fields);
        else logger.info(message, fields, verbosity);
      }
      const requests = asked.map(({ message, verbosity = 0, error, with: base, fields }): OracleRequest => ({
        log: {
          format,
          level: 4,
          verbosity,
          message,
          ...(error === undefined ? {} : { error }),
          with: flat(base),
          fields: flat(fields),
        },
      }));
      const answers = await askOracle(requests);
      assert.equal(lines.length, answers.length);
      for (const [i, { text }] of answers.entries()) {
        const [ours, gos] = [timeless(lines[i] ?? "", format), timeless(text.trimEnd(), format)];
        // JSON may escape more than it must.
        if (format === "json") {
          assert.deepEqual(Object.entries(JSON.parse(ours)), Object.entries(JSON.parse(gos)));
        } else assert.equal(ours, gos);
      }
    });
  }
});
