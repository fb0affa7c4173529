import assert from "node:assert/strict";
import { DefaultPackageError } from "../lib/certs/default_package.ts";
import { encodePackage, packageIdentity } from "./package_file.ts";

const PLAIN = Deno.readTextFileSync(new URL("../lib/certs/testdata/plain.pem", import.meta.url));

const identities: { what: string; osRelease: string; version?: string; name: string; expected: string }[] = [
  {
    what: "Debian",
    osRelease: 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n',
    version: "20250419",
    name: "cert-manager-debian-trixie",
    expected: "20250419.0",
  },
  {
    what: "another distribution, quoted",
    osRelease: 'NAME="Fedora Linux"\nID="fedora"\nVERSION_ID="43"\n',
    name: "cert-manager-fedora-43",
    expected: "unversioned.0",
  },
  { what: "no distribution", osRelease: "", name: "cert-manager-local", expected: "unversioned.0" },
];

for (const { what, osRelease, version, name, expected } of identities) {
  Deno.test(`name and version of a package: ${what}`, () => {
    assert.deepEqual(packageIdentity(osRelease, version), { name, version: expected });
  });
}

Deno.test("a package is written as one line of JSON, always the same", () => {
  const file = { version: "1.0", name: "debian", bundle: PLAIN };
  const { json, read } = encodePackage(file);
  assert.equal(json, JSON.stringify({ name: "debian", bundle: PLAIN, version: "1.0" }) + "\n");
  assert.match(read.id, /^debian-1\.0-[0-9a-f]{16}$/);
  assert.equal(read.certificates.length, 1);
});

const refused: { what: string; name?: string; version?: string; bundle?: string; message: string }[] = [
  { what: "no name", name: "", message: "Default package has no name" },
  { what: "no version", version: "", message: "Default package has no version" },
  { what: "no certificates", bundle: "", message: "The bundle holds no certificates" },
  {
    what: "a private key",
    bundle: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    message: "Default package has a bad bundle: invalid PEM block in bundle: " +
      "only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'",
  },
];

for (const { what, message, ...fields } of refused) {
  Deno.test(`a package that the operator would refuse is not written: ${what}`, () => {
    const file = { name: "debian", version: "1.0", bundle: PLAIN, ...fields };
    assert.throws(() => encodePackage(file), new DefaultPackageError(message));
  });
}
