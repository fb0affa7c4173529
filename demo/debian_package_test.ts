import assert from "node:assert/strict";
import { packageIdentity, packageOfThisMachine } from "./debian_package.ts";
import { parseDefaultPackage } from "../lib/certs/default_package.ts";

const cases: { what: string; osRelease: string; version?: string; name: string; expected: string }[] = [
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

for (const { what, osRelease, version, name, expected } of cases) {
  Deno.test(`name and version of a package: ${what}`, () => {
    assert.deepEqual(packageIdentity(osRelease, version), { name, version: expected });
  });
}

Deno.test("the package of this machine is one that the operator takes", async () => {
  const { certificates } = parseDefaultPackage(JSON.stringify(await packageOfThisMachine()));
  assert.ok(certificates.length > 50, `only ${certificates.length} certificates`);
});
