import assert from "node:assert/strict";
import { FakeClock } from "../tests/fake_clock.ts";
import { createLogger, type LogOptions } from "./log.ts";

function setUp(options: Pick<LogOptions, "format"> & { level?: number }) {
  const lines: string[] = [];
  const clock = new FakeClock("2030-01-02T03:04:05.678Z");
  const log = createLogger({ level: 1, clock, write: (line) => lines.push(line), ...options });
  return { log, clock, take: () => lines.splice(0) };
}

Deno.test("text lines are logfmt as Go's log/slog writes it", async (t) => {
  const table: {
    name: string;
    fields: Parameters<ReturnType<typeof createLogger>["info"]>[1];
    text: string;
  }[] = [
    { name: "no fields", fields: undefined, text: "" },
    { name: "plain words", fields: { bundle: "a-b", path: "/x/y.z:1" }, text: " bundle=a-b path=/x/y.z:1" },
    {
      name: "numbers and booleans",
      fields: { n: 1.5, yes: true, no: false },
      text: " n=1.5 yes=true no=false",
    },
    { name: "undefined is left out", fields: { a: undefined, b: 1 }, text: " b=1" },
    { name: "blanks", fields: { a: "b c" }, text: ' a="b c"' },
    { name: "empty", fields: { a: "" }, text: ' a=""' },
    { name: "quotes", fields: { a: 'b"c' }, text: String.raw` a="b\"c"` },
    { name: "a value that looks like a field", fields: { a: "b=c" }, text: ' a="b=c"' },
    {
      name: "newlines do not break the line",
      fields: { a: "b\nERROR c" },
      text: String.raw` a="b\nERROR c"`,
    },
    { name: "terminal escapes", fields: { a: "\u001b[31m" }, text: String.raw` a="\x1b[31m"` },
    {
      name: "blanks of Unicode",
      fields: { a: "\u00a0", b: "\u2028" },
      text: String.raw` a="\u00a0" b="\u2028"`,
    },
    { name: "invisible characters", fields: { a: "b\u200b" }, text: String.raw` a="b\u200b"` },
    { name: "DEL", fields: { a: "\x7f" }, text: String.raw` a="\x7f"` },
    { name: "the replacement character", fields: { a: "\ufffd" }, text: ' a="\ufffd"' },
    {
      name: "other text is one word",
      fields: { a: String.raw`back\slash`, b: "{x}", c: "ä日…😀", d: "<>&", e: "[a]", f: "a,b;c'd`" },
      text: String.raw` a=back\slash b={x} c=ä日…😀 d=<>& e=[a] f=a,b;c'd` + "`",
    },
  ];
  for (const { name, fields, text } of table) {
    await t.step(name, () => {
      const { log, take } = setUp({ format: "text" });
      log.info("It happened", fields);
      assert.deepEqual(take(), [`time=2030-01-02T03:04:05.678Z level=INFO msg="It happened"${text}`]);
      log.info("Happened", fields);
      assert.deepEqual(take(), [`time=2030-01-02T03:04:05.678Z level=INFO msg=Happened${text}`]);
    });
  }
});

Deno.test("JSON lines are one object each, as Go's log/slog writes them", () => {
  const { log, take } = setUp({ format: "json" });
  log.info("It happened", { text: 'a\n"b"', n: 1, yes: true, none: undefined });
  log.error("It failed", new Error("why"), { bundle: "b" });
  const lines = take();
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [
    { time: "2030-01-02T03:04:05.678Z", level: "INFO", msg: "It happened", text: 'a\n"b"', n: 1, yes: true },
    { time: "2030-01-02T03:04:05.678Z", level: "ERROR", msg: "It failed", err: "why", bundle: "b" },
  ]);
  assert.ok(lines.every((line) => !line.includes("\n")));
});

Deno.test("what is chattier than the level is not written", async (t) => {
  for (const level of [0, 1, 2, 5]) {
    await t.step(`level ${level}`, () => {
      const { log, take } = setUp({ format: "text", level });
      for (let verbosity = 0; verbosity <= 5; verbosity++) log.info("Line", { verbosity }, verbosity);
      log.info("Line");
      assert.equal(take().length, level + 2);
    });
  }
});

Deno.test("what is chattier has a lower level, as logr gives it to log/slog", () => {
  for (
    const [format, levelOf] of [
      ["json", (line: string) => JSON.parse(line).level],
      ["text", (line: string) => /level=(\S+)/.exec(line)?.[1]],
    ] as const
  ) {
    const { log, take } = setUp({ format, level: 5 });
    for (let verbosity = 0; verbosity <= 5; verbosity++) log.info("Line", {}, verbosity);
    log.error("Line", "why");
    assert.deepEqual(take().map(levelOf), [
      "INFO",
      "DEBUG+3",
      "DEBUG+2",
      "DEBUG+1",
      "DEBUG",
      "DEBUG-1",
      "ERROR",
    ]);
  }
});

Deno.test("an error is its message; its stack is for level 5", async (t) => {
  const error = new TypeError("a\nb");
  const table: { name: string; level: number; error: unknown; err: string }[] = [
    { name: "message", level: 4, error, err: "a\nb" },
    { name: "stack", level: 5, error, err: error.stack ?? "" },
    { name: "no error object", level: 1, error: "text", err: "text" },
    { name: "undefined", level: 1, error: undefined, err: "undefined" },
  ];
  for (const { name, level, error, err } of table) {
    await t.step(name, () => {
      const json = setUp({ format: "json", level });
      json.log.error("Failed", error);
      assert.equal(JSON.parse(json.take()[0] ?? "").err, err);
      const text = setUp({ format: "text", level });
      text.log.error("Failed", error, { a: 1 });
      const quoted = /\s/.test(err) ? JSON.stringify(err) : err;
      assert.deepEqual(text.take(), [
        `time=2030-01-02T03:04:05.678Z level=ERROR msg=Failed err=${quoted} a=1`,
      ]);
    });
  }
});

Deno.test("a logger can carry fields, which a line may overrule", () => {
  const { log, take } = setUp({ format: "text" });
  const child = log.with({ a: 1, b: 2 }).with({ b: 3 });
  child.info("One", { c: 4 });
  child.error("Two", new Error("e"), { a: 5 });
  log.info("Three");
  assert.deepEqual(take().map((line) => line.replace(/^\S+ /, "")), [
    "level=INFO msg=One a=1 b=3 c=4",
    "level=ERROR msg=Two a=5 b=3 err=e",
    "level=INFO msg=Three",
  ]);
});
