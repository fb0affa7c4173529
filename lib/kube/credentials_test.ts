import assert from "node:assert/strict";
import { FakeClock } from "../../tests/fake_clock.ts";
import { ClusterConfigError, type Credentials } from "./config.ts";
import { bothCredentials, clientCertificateFiles, fixedCredentials, tokenFile } from "./credentials.ts";
import { makeTestCertificates } from "./test_certificates.ts";
import { TestHost } from "./test_host.ts";

const [later, force] = [{ force: false }, { force: true }];

Deno.test("tokenFile reads again after a minute, and at once when the token was refused", async () => {
  const host = new TestHost({ "/t": "one\n" });
  const clock = new FakeClock();
  const source = tokenFile("/t", { host, clock });
  assert.deepEqual(await source(later), { authorization: "Bearer one" });
  host.files["/t"] = "two";
  await clock.advance(59_999);
  assert.deepEqual(await source(later), { authorization: "Bearer one" });
  await clock.advance(1);
  assert.deepEqual(await source(later), { authorization: "Bearer two" });
  host.files["/t"] = "three";
  assert.deepEqual(await source(force), { authorization: "Bearer three" });
  assert.equal(host.reads.length, 3);
});

Deno.test("tokenFile returns the same object for the same token", async () => {
  const source = tokenFile("/t", { host: new TestHost({ "/t": "one" }), clock: new FakeClock() });
  assert.equal(await source(later), await source(force));
});

Deno.test("tokenFile keeps the last token when the file cannot be read any more", async () => {
  const host = new TestHost({ "/t": "one" });
  const source = tokenFile("/t", { host, clock: new FakeClock() });
  await source(later);
  host.files["/t"] = "";
  assert.deepEqual(await source(force), { authorization: "Bearer one" });
  delete host.files["/t"];
  assert.deepEqual(await source(force), { authorization: "Bearer one" });
});

const unusable: [string, text: string | Error | undefined, message: string][] = [
  ["is missing", undefined, "Cannot read the token from /t: it does not exist"],
  [
    "may not be read",
    new Deno.errors.PermissionDenied("x"),
    "Cannot read the token from /t: its file permissions forbid it",
  ],
  [
    "Deno may not read",
    new Deno.errors.NotCapable("x"),
    "Cannot read the token from /t: Deno was started without the permission to read it (--allow-read)",
  ],
  ["is empty", "\n", "/t holds no token: it is empty, or has characters that an HTTP header cannot carry"],
  [
    "has two lines",
    "hush\nhush",
    "/t holds no token: it is empty, or has characters that an HTTP header cannot carry",
  ],
];
for (const [name, text, message] of unusable) {
  Deno.test(`tokenFile: the first token ${name}`, async () => {
    const host = new TestHost(text === undefined ? {} : { "/t": text });
    await assert.rejects(
      tokenFile("/t", { host, clock: new FakeClock() })(later),
      (error) => error instanceof ClusterConfigError && error.message === message,
    );
  });
}

Deno.test("clientCertificateFiles keeps the last pair while the new one is half written", async () => {
  const { clients: [one, two] } = await makeTestCertificates();
  const files = { certificate: one.certificate, key: one.key };
  const source = clientCertificateFiles(
    { certificate: () => Promise.resolve(files.certificate), key: () => Promise.resolve(files.key) },
    "u",
    { clock: new FakeClock() },
  );
  assert.deepEqual(await source(later), { clientCertificate: one });
  files.certificate = two.certificate;
  assert.deepEqual(await source(force), { clientCertificate: one });
  files.key = two.key;
  assert.deepEqual(await source(force), { clientCertificate: two });
});

Deno.test("bothCredentials: the same object until one of them changes", async () => {
  let token: Credentials = { authorization: "a" };
  const clientCertificate = { certificate: "c", key: "k" };
  const source = bothCredentials(() => Promise.resolve(token), fixedCredentials({ clientCertificate }));
  const first = await source(later);
  assert.deepEqual(first, { authorization: "a", clientCertificate });
  assert.equal(await source(later), first);
  token = { authorization: "b" };
  assert.deepEqual(await source(later), { authorization: "b", clientCertificate });
});
