import assert from "node:assert/strict";
import { OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import { makeTestCertificates } from "../../lib/kube/test_certificates.ts";
import { OperatorProcess } from "./operator_process.ts";

Deno.test("The API server is trusted by the CA of the kubeconfig only, whatever the environment says", async (t) => {
  const { ca, otherCa, server: { certificate: cert, key } } = await makeTestCertificates();
  const dir = await Deno.makeTempDir();
  let requests = 0;
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {}, onError: () => new Response() },
    () => {
      requests++;
      return Response.json({ kind: "Status", code: 503, reason: "NotReal" }, { status: 503 });
    },
  );
  const file = `${dir}/ca.pem`;
  await Deno.writeTextFile(file, ca);
  const kubeconfig = async (name: string, trusted: string) => {
    const path = `${dir}/${name}.yaml`;
    const authority = new TextEncoder().encode(trusted).toBase64();
    const cluster = {
      server: `https://localhost:${server.addr.port}`,
      "certificate-authority-data": authority,
    };
    await Deno.writeTextFile(
      path,
      JSON.stringify({
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
        clusters: [{ name: "c", cluster }],
        users: [{ name: "u", user: { token: "t" } }],
      }),
    );
    return path;
  };
  const run = async (config: string, env: Record<string, string>, until: RegExp) => {
    requests = 0;
    const flags = [`--kubeconfig=${config}`, "--webhook-enabled=false"];
    await using operator = OperatorProcess.start(OPERATOR_FLAGS, SCRIPT, flags, env);
    await operator.prints(until);
    return requests;
  };
  const environments: Record<string, Record<string, string>> = {
    "that of the image": {},
    "NODE_EXTRA_CA_CERTS": { NODE_EXTRA_CA_CERTS: file },
    "DENO_CERT": { DENO_CERT: file },
    "the system's store": { DENO_TLS_CA_STORE: "system", SSL_CERT_FILE: file },
    "a verification that is turned off": { NODE_EXTRA_CA_CERTS: file, NODE_TLS_REJECT_UNAUTHORIZED: "0" },
  };
  const [strange, right] = [await kubeconfig("strange", otherCa), await kubeconfig("right", ca)];
  try {
    for (const [name, env] of Object.entries(environments)) {
      await t.step(name, async () => {
        assert.equal(await run(strange, env, /Cannot reach https:\/\/localhost/), 0, "it was trusted");
        // The same without the reason to refuse: so that the step above does not hold for another cause.
        assert.ok(await run(right, env, /NotReal|503/) > 0);
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
