import assert from "node:assert/strict";
import { buildGoPrograms, type GoBuild, GoBuildError } from "./go_programs.ts";

Deno.test("programs are built once, and again when something about them changes", async () => {
  await using scene = await aModule(`package main\n\nvar word = "hello"\n\nfunc main() { print(word) }\n`);
  const { build, said } = scene;

  const directory = await buildGoPrograms(build);
  assert.equal(await outputOf(`${directory}/hello`), "hello");
  assert.equal(said.length, 2);

  assert.equal(await buildGoPrograms(build), directory);
  assert.equal(said.length, 2);

  const other = await buildGoPrograms({ ...build, ldflags: "-X main.word=bye" });
  assert.equal(await outputOf(`${other}/hello`), "bye");
  assert.equal(await outputOf(`${directory}/hello`), "hello");
});

Deno.test("of two that want the same programs, one builds and the other waits", async () => {
  await using scene = await aModule(`package main\n\nfunc main() { print("hello") }\n`);
  const { build, said } = scene;

  const [one, two] = await Promise.all([buildGoPrograms(build), buildGoPrograms(build)]);

  assert.equal(one, two);
  assert.deepEqual(said.map((line) => line.split(" ")[0]).sort(), ["Another", "Building", "Built"]);
});

Deno.test("a build that fails says why and leaves nothing", async () => {
  await using scene = await aModule(`package main\n\nfunc main() { missing() }\n`);

  await assert.rejects(
    buildGoPrograms(scene.build),
    (error) => error instanceof GoBuildError && error.message.includes("undefined: missing"),
  );

  const left = await Array.fromAsync(Deno.readDir(scene.build.cache), (entry) => entry.name);
  assert.deepEqual(left.filter((name) => name.startsWith("building-")), []);
});

async function aModule(main: string): Promise<{ build: GoBuild; said: string[] } & AsyncDisposable> {
  const directory = await Deno.makeTempDir();
  const module = `${directory}/module`;
  await Deno.mkdir(module);
  await Deno.writeTextFile(`${module}/go.mod`, "module hello\n\ngo 1.21\n");
  await Deno.writeTextFile(`${module}/go.sum`, "");
  await Deno.writeTextFile(`${module}/main.go`, main);
  const said: string[] = [];
  // But not how long it takes so far, which slow machines have told.
  const report = (line: string) => {
    if (!/: \d+ (s|min)/.test(line)) said.push(line);
  };
  return {
    build: { module, cache: `${directory}/cache`, programs: { hello: "hello" }, ldflags: "", report },
    said,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

/** Go's `print` writes to standard error. */
async function outputOf(program: string): Promise<string> {
  const { stderr } = await new Deno.Command(program).output();
  return new TextDecoder().decode(stderr);
}
