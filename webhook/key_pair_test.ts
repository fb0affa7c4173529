import assert from "node:assert/strict";
import { readKeyPair } from "./key_pair.ts";
import { testKeyPair } from "./test_key_pair.ts";

const { pair: one, ca } = await testKeyPair();
const { pair: other } = await testKeyPair();

async function openssl(...args: string[]): Promise<{ certificate: string; privateKey: string }> {
  const dir = await Deno.makeTempDir();
  try {
    const { success, stderr } = await new Deno.Command("openssl", {
      args: ["req", "-x509", "-nodes", "-subj", "/CN=x", "-keyout", "key", "-out", "crt", ...args],
      cwd: dir,
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    return {
      certificate: await Deno.readTextFile(`${dir}/crt`),
      privateKey: await Deno.readTextFile(`${dir}/key`),
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("a pair is read, also with a chain", () => {
  assert.equal(readKeyPair(one.certificate + ca, one.privateKey).serialNumber, one.serialNumber);
  assert.ok(one.notAfter > Date.now());
  assert.match(one.serialNumber, /^[0-9A-F]{32}$/);
});

const broken: Record<string, { certificate: string; privateKey: string; message: RegExp }> = {
  "nothing": {
    certificate: "",
    privateKey: "",
    message: /^Certificate cannot be read: it holds no PEM certificate/,
  },
  "no key": { certificate: one.certificate, privateKey: "", message: /^Private key cannot be read/ },
  "another key": {
    certificate: one.certificate,
    privateKey: other.privateKey,
    message: /^Private key is not that of the certificate$/,
  },
  "half a certificate": {
    certificate: one.certificate.slice(0, 200),
    privateKey: one.privateKey,
    message: /^Certificate cannot be read: it holds no PEM certificate, or an incomplete one$/,
  },
  "half a chain": {
    certificate: one.certificate + ca.slice(0, 200),
    privateKey: one.privateKey,
    message: /an incomplete one$/,
  },
  "half a key": {
    certificate: one.certificate,
    privateKey: one.privateKey.slice(0, 100),
    message: /^Private key cannot be read/,
  },
  "the two swapped": {
    certificate: one.privateKey,
    privateKey: one.certificate,
    message: /^Certificate cannot be read: .*found 'PRIVATE KEY'$/,
  },
};

for (const [name, { certificate, privateKey, message }] of Object.entries(broken)) {
  Deno.test(`no pair: ${name}`, () => {
    assert.throws(() => readKeyPair(certificate, privateKey), { name: "KeyPairError", message });
  });
}

for (
  const [args, served] of Object.entries({
    "-newkey rsa:2048": true,
    "-newkey ed25519": true,
    "-newkey ec -pkeyopt ec_paramgen_curve:P-384": true,
    "-newkey rsa:1024": false,
    "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1": false,
  })
) {
  Deno.test(`a key of openssl req ${args} is ${served ? "served" : "refused"}`, async () => {
    const { certificate, privateKey } = await openssl(...args.split(" "));
    const read = () => readKeyPair(certificate, privateKey);
    if (served) read();
    else {
      assert.throws(read, {
        name: "KeyPairError",
        message: /^Private key cannot be served: use RSA|unsupported elliptic curve$/,
      });
    }
  });
}
