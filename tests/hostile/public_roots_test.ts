import assert from "node:assert/strict";
import { OPERATOR_ENVIRONMENT } from "../../build.ts";
import { makeTestCertificates } from "../../lib/kube/test_certificates.ts";

/** Asks a server in a Deno of its own, and tells whether it trusted it: by a store of the runtime, or by CAs that are given. */
async function trusts(port: number, env: Record<string, string>, caCerts: string[]): Promise<boolean> {
  const script = `const client = Deno.createHttpClient({ caCerts: ${JSON.stringify(caCerts)} });
    const response = await fetch("https://127.0.0.1:${port}/", { client });
    console.log(await response.text());`;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-config",
      "--allow-net=127.0.0.1",
      `data:application/typescript,${encodeURIComponent(script)}`,
    ],
    clearEnv: true,
    env: { DENO_NO_UPDATE_CHECK: "1", ...env },
  }).output();
  const said = new TextDecoder().decode(success ? stdout : stderr);
  assert.match(said, success ? /^hello$/m : /UnknownIssuer/);
  return success;
}

Deno.test("an API server's certificate is that of the given CA: the runtime trusts no other in the operator's environment", async () => {
  const { ca, otherCa, server: { certificate: cert, key } } = await makeTestCertificates();
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, ca);
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {}, onError: () => new Response() },
    () => new Response("hello\n"),
  );
  const { port } = server.addr;
  try {
    // The runtime's roots count beside those that are given …
    const withRoot = { DENO_TLS_CA_STORE: "system", SSL_CERT_FILE: file };
    assert.equal(await trusts(port, withRoot, [otherCa]), true);
    // … unless there are none.
    const asOperator = { ...withRoot, ...OPERATOR_ENVIRONMENT };
    assert.equal(await trusts(port, asOperator, [otherCa]), false);
    assert.equal(await trusts(port, asOperator, [ca]), true);
  } finally {
    await Deno.remove(file);
  }
});
