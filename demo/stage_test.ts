import assert from "node:assert/strict";
import { Stage, StepError } from "./stage.ts";

function newStage(): { stage: Stage; lines: string[] } {
  const lines: string[] = [];
  return { stage: new Stage({ WHO: "you" }, (line) => lines.push(line)), lines };
}

Deno.test("a command is shown, runs with the environment, and what it prints is shown and returned", async () => {
  const { stage, lines } = newStage();
  assert.equal(await stage.run("echo hello \\\n  $WHO"), "hello you\n");
  assert.deepEqual(lines, ["\n   $ echo hello \\", "       $WHO", "   hello you"]);
});

Deno.test("long output is shortened", async () => {
  const { stage, lines } = newStage();
  await stage.run("seq 30");
  assert.deepEqual(lines.slice(-2), ["   16", "   … 14 more lines"]);
});

Deno.test("a command that fails ends the play, unless it must", async () => {
  const { stage, lines } = newStage();
  await assert.rejects(
    stage.run("echo no >&2; exit 3"),
    new StepError("This command failed: echo no >&2; exit 3"),
  );
  assert.equal(lines.at(-1), "   no");
  assert.equal(await stage.refused("echo no >&2; exit 3"), "no\n");
  await assert.rejects(stage.refused("true"), new StepError("This command did not fail: true"));
});

Deno.test("promises are counted if they hold, and end the play if not", async () => {
  const { stage } = newStage();
  stage.check("one", true);
  let asked = 0;
  await stage.waitFor("two", () => Promise.resolve(++asked === 3));
  await stage.measure(
    "three",
    () => Promise.resolve(),
    () => Promise.resolve(true),
    () => Promise.resolve(true),
  );
  assert.equal(stage.held, 3);
  assert.throws(() => stage.check("four", false), new StepError("This does not hold: four"));
  const never = () => Promise.resolve(false);
  await assert.rejects(stage.waitFor("five", never, 10), /Waited 0.01 s in vain: five/);
  assert.equal(stage.held, 3);
});
