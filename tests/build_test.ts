import assert from "node:assert/strict";
import { checkSha256, inAscii } from "../build.ts";

Deno.test("a script in ASCII means the same", () => {
  const script = '["µs", `a μ…`, "🔑", /^[μ🔑]$/u.test("🔑"), /μs/y.test("μs")] // …';
  const ascii = inAscii(script);
  assert.match(ascii, /^[\x20-\x7e]+$/);
  assert.deepEqual((0, eval)(ascii), ["µs", "a μ…", "🔑", true, true]);
});

Deno.test("what is compiled in has the checksum that was given, or there is no binary", async () => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, "abc"); // FIPS 180-2, B.1
    const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    await checkSha256(file, sha256);
    await checkSha256(file, sha256.toUpperCase());
    await assert.rejects(checkSha256(file, "0".repeat(64)), /its SHA-256 is ba7816bf/);
    await assert.rejects(checkSha256(`${file}.none`, sha256), Deno.errors.NotFound);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("images are built from images of a digest only", async () => {
  for (const name of ["Dockerfile", "default-ca-package/Dockerfile"]) {
    const text = await Deno.readTextFile(`${import.meta.dirname}/../${name}`);
    const bases = new Map(
      [...text.matchAll(/^ARG (\w+_IMAGE)=(\S+)$/gm)].map(([, arg, image]) => [arg, image]),
    );
    assert.ok(bases.size >= 2, name);
    for (const [arg, image] of bases) {
      assert.match(image ?? "", /^[^@]+:[^@/]+@sha256:[0-9a-f]{64}$/, `${name}: ${arg}`);
    }
    const stages = [...text.matchAll(/^FROM (?:--\S+ )*(\S+)/gm)].map(([, image = ""]) => image);
    for (const image of stages) {
      assert.ok(image === "scratch" || bases.has(image.slice(1)), `${name}: FROM ${image}`);
    }
  }
});
