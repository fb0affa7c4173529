import assert from "node:assert/strict";
import { FakeClock } from "../../tests/fake_clock.ts";
import { createLogger } from "../log.ts";
import { kept, reread } from "./reread.ts";

const [later, force] = [{ force: false }, { force: true }];

Deno.test("kept loads once for all that ask meanwhile, and again after a failure", async () => {
  let loads = 0;
  let gate = Promise.withResolvers<string>();
  const source = kept<string>(() => undefined, () => {
    loads++;
    return gate.promise;
  });
  const asked = [source(later), source(force), source(later)];
  gate.reject(new Error("broken"));
  for (const result of await Promise.allSettled(asked)) assert.equal(result.status, "rejected");
  assert.equal(loads, 1);
  gate = Promise.withResolvers();
  const again = source(later);
  gate.resolve("x");
  assert.equal(await again, "x");
  assert.equal(loads, 2);
});

Deno.test("reread: each minute and by force; what cannot be used is logged once, and the last value stays", async () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = createLogger({ format: "text", level: 1, clock, write: (line) => lines.push(line) });
  let reads = 0;
  let content: { text: string } | Error = { text: "one" };
  const source = reread({ clock, log }, () => {
    reads++;
    return content instanceof Error ? Promise.reject(content) : Promise.resolve(content);
  }, (a, b) => a.text === b.text);
  const first = await source(later);
  assert.deepEqual(first, { text: "one" });
  content = { text: "one" };
  assert.equal(await source(force), first, "the same object for the same value");
  content = new Error("/f is half written");
  await clock.advance(59_999);
  assert.equal(await source(later), first);
  assert.equal(reads, 2);
  await clock.advance(1);
  for (let i = 0; i < 3; i++) assert.equal(await source(force), first);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /what it held before stays in use" err="\/f is half written"$/);
  content = { text: "two" };
  assert.deepEqual(await source(force), { text: "two" });
  content = new Error("/f is half written");
  assert.deepEqual(await source(force), { text: "two" });
  assert.equal(lines.length, 2, "a problem that came back is told again");
});

Deno.test("reread: without a first value it fails, and may succeed later", async () => {
  const files: { content?: string } = {};
  const source = reread(
    { clock: new FakeClock() },
    () =>
      files.content === undefined
        ? Promise.reject(new Error("/f does not exist"))
        : Promise.resolve(files.content),
    (a, b) => a === b,
  );
  await assert.rejects(source(later), /does not exist/);
  files.content = "x";
  assert.equal(await source(later), "x");
});
