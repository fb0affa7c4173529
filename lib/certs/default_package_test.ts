import assert from "node:assert/strict";
import { checkDefaultPackagePath, DefaultPackageError, parseDefaultPackage } from "./default_package.ts";

const file = (name: string) => Deno.readTextFileSync(new URL(`testdata/${name}.pem`, import.meta.url));
const plain = file("plain");
const text = (fields: Record<string, unknown>) =>
  JSON.stringify({ name: "debian", version: "1.0", bundle: plain, ...fields });

Deno.test("a package has certificates and an identity", () => {
  const { certificates, ...rest } = parseDefaultPackage(text({ bundle: "", later: { field: [1] } }));
  assert.deepEqual(certificates, []);
  assert.deepEqual(rest, {
    name: "debian",
    version: "1.0",
    id: "debian-1.0-e3b0c44298fc1c14", // SHA-256 of nothing
    warnings: ["Default package holds no certificates"],
  });
  assert.equal(parseDefaultPackage(text({})).certificates.length, 1);
  assert.deepEqual(parseDefaultPackage(text({})).warnings, []);
});

Deno.test("what is skipped is worth a warning", () => {
  const bundle = file("ec_acc") + plain + "-----BEGIN CERTIFICATE-----\n";
  assert.deepEqual(parseDefaultPackage(text({ bundle })).warnings, [
    "Default package has PEM blocks that are not complete, which are skipped: 1",
    "Default package has a certificate with a negative serial number, which is skipped: " +
    "88497f01602f3154246ae28c4d5aef10f1d87ebb76626f4ae0b7f95ba7968799",
  ]);
});

Deno.test("the identity is one that status.defaultCAVersion takes, and still tells packages apart", () => {
  const hash = parseDefaultPackage(text({})).id.split("-").at(-1) ?? "";
  for (
    const [name, version, id] of [
      ["n".repeat(200), "1".repeat(35), `${"n".repeat(200)}-${"1".repeat(35)}-${hash}`],
      ["n".repeat(200), "1".repeat(36), `${"n".repeat(200)}-${"1".repeat(35)}-${hash}`],
      ["n".repeat(1000), "1", `${"n".repeat(236)}-${hash}`],
      ["n".repeat(235) + "😀", "1", `${"n".repeat(235)}-${hash}`],
    ] as const
  ) {
    const read = parseDefaultPackage(text({ name, version }));
    assert.equal(read.id, id);
    assert.ok(read.id.length <= 253);
    const isCut = !id.startsWith(`${name}-${version}-`);
    assert.equal(read.warnings.some((warning) => warning.includes("status.defaultCAVersion")), isCut);
  }
});

const refused: [string, string, string][] = [
  ["no JSON", "-----BEGIN PRIVATE KEY-----", "Default package is not valid JSON"],
  ["trailing text", text({}) + "x", `Default package is not valid JSON at position ${text({}).length}`],
  ["nothing", "", "Default package is not valid JSON"],
  ["a list", "[]", "Default package is not a JSON object"],
  ["null", "null", "Default package is not a JSON object"],
  ["no name", text({ name: undefined }), "Default package has no name"],
  ["an empty name", text({ name: "" }), "Default package has no name"],
  ["no version", text({ version: null }), "Default package has no version"],
  ["a number as version", text({ version: 1 }), "Default package has a version that is not a string"],
  [
    "a private key",
    text({ bundle: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----" }),
    "Default package has a bad bundle: invalid PEM block in bundle: " +
    "only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'",
  ],
];

for (const [name, json, message] of refused) {
  Deno.test(`a package that cannot be used: ${name}`, () => {
    assert.throws(() => parseDefaultPackage(json), (error) => {
      assert.ok(error instanceof DefaultPackageError);
      assert.ok(error.message.startsWith(message), error.message);
      assert.ok(!error.message.includes("BEGIN"), "quotes the text");
      return true;
    });
  });
}

Deno.test("a package's file ends in .json", () => {
  checkDefaultPackagePath("/packages/a.json");
  assert.throws(() => checkDefaultPackagePath("/packages/a.pem"), DefaultPackageError);
});
