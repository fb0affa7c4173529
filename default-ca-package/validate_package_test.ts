import assert from "node:assert/strict";
import { PERMISSIONS } from "../build.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const read = (name: string) => Deno.readTextFileSync(`${ROOT}lib/certs/testdata/${name}.pem`);
const PACKAGE = { name: "debian", version: "1.0", bundle: read("plain") };

/** Runs `trust-manager validate-package` from its sources, with its exact permissions. */
async function validate(input: string): Promise<{ code: number; output: string; said: string }> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", ...PERMISSIONS, `${ROOT}main.ts`, "validate-package"],
    cwd: ROOT,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const [output, said, { code }] = await Promise.all([
    process.stdout.text(),
    process.stderr.text(),
    process.status,
    new Blob([input]).stream().pipeTo(process.stdin),
  ]);
  return { code, output, said };
}

const cases: { what: string; input: string; code: number; output: RegExp; said: string }[] = [
  {
    what: "a package",
    input: JSON.stringify(PACKAGE),
    code: 0,
    output: /^debian-1\.0-[0-9a-f]{16}: 1 certificates\n$/,
    said: "",
  },
  {
    what: "one that loads, but not without a word",
    input: JSON.stringify({ ...PACKAGE, bundle: "" }),
    code: 0,
    output: /^debian-1\.0-e3b0c44298fc1c14: 0 certificates\n$/,
    said: "trust-manager: Default package holds no certificates\n",
  },
  {
    what: "no JSON",
    input: "hunter2",
    code: 1,
    output: /^$/,
    said: "trust-manager: Default package is not valid JSON\n",
  },
  {
    what: "a certificate that is none",
    input: JSON.stringify({
      ...PACKAGE,
      bundle: `-----BEGIN CERTIFICATE-----\n${btoa("hunter2")}\n-----END CERTIFICATE-----\n`,
    }),
    code: 1,
    output: /^$/,
    said: "trust-manager: Default package has a bad bundle: invalid PEM block in bundle; " +
      "invalid PEM certificate: x509: malformed certificate\n",
  },
];

for (const { what, input, code, output, said } of cases) {
  Deno.test(`validate-package: ${what}`, async () => {
    const answer = await validate(input);
    assert.match(answer.output, output);
    assert.deepEqual({ ...answer, output: "" }, { code, output: "", said });
  });
}
