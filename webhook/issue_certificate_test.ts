import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readPem } from "../lib/certs/pem.ts";
import { type CertificateTemplate, issueCertificate, readIssuerKeys } from "./issue_certificate.ts";

const DAY = 86_400_000;
const NOW = Math.floor(Date.now() / 1000) * 1000;
const ca: CertificateTemplate = {
  commonName: "test CA",
  notBefore: NOW - DAY,
  notAfter: NOW + 10 * DAY,
  use: { type: "ca" },
};
const server: CertificateTemplate = {
  commonName: "server",
  notBefore: NOW - DAY,
  notAfter: NOW + DAY,
  use: { type: "server", dnsNames: ["hook.ns.svc", "localhost"] },
};

Deno.test("a CA and a certificate that it issued", async () => {
  const root = await issueCertificate(ca);
  // As another replica does it that has read the key.
  const keys = await readIssuerKeys(root.privateKeyPem);
  const leaf = await issueCertificate(server, { commonName: ca.commonName, keys });
  const [rootX509, leafX509] = [
    new X509Certificate(root.certificatePem),
    new X509Certificate(leaf.certificatePem),
  ];

  assert.ok(rootX509.ca && rootX509.checkIssued(rootX509) && rootX509.verify(rootX509.publicKey));
  assert.ok(!leafX509.ca && leafX509.checkIssued(rootX509) && leafX509.verify(rootX509.publicKey));
  assert.equal(leafX509.subject, "CN=server");
  assert.notEqual(leafX509.serialNumber, rootX509.serialNumber);
  assert.equal(leafX509.checkHost("hook.ns.svc"), "hook.ns.svc");

  const reading = readPem(new TextEncoder().encode(leaf.certificatePem + root.certificatePem));
  assert.ok(reading.ok);
  assert.deepEqual(
    reading.certificates.map(({ notBefore, notAfter, isCa }) => ({ notBefore, notAfter, isCa })),
    [
      { notBefore: NOW - DAY, notAfter: NOW + DAY, isCa: false },
      { notBefore: NOW - DAY, notAfter: NOW + 10 * DAY, isCa: true },
    ],
  );
});

Deno.test("dates from 2050 on", async () => {
  const late = await issueCertificate({ ...ca, notAfter: Date.parse("2050-01-01T00:00:00Z") });
  const reading = readPem(new TextEncoder().encode(late.certificatePem));
  assert.ok(reading.ok);
  assert.equal(reading.certificates[0]?.notAfter, Date.parse("2050-01-01T00:00:00Z"));
});

Deno.test("openssl verifies the chain, strictly, many times over", async () => {
  const dir = await Deno.makeTempDir();
  try {
    // Signatures and serial numbers have leading zeros or high bits only now and then.
    for (let i = 0; i < 40; i++) {
      const root = await issueCertificate(ca);
      const leaf = await issueCertificate(server, { commonName: ca.commonName, keys: root.keys });
      await Deno.writeTextFile(`${dir}/ca.pem`, root.certificatePem);
      await Deno.writeTextFile(`${dir}/leaf.pem`, leaf.certificatePem);
      const args = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "hook.ns.svc"];
      const { success, stderr } = await new Deno.Command("openssl", {
        args: [...args, "-CAfile", `${dir}/ca.pem`, `${dir}/leaf.pem`],
      }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
