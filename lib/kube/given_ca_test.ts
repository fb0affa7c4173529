import assert from "node:assert/strict";
import { createLogger } from "../log.ts";
import { systemClock } from "../clock.ts";
import { type ClusterConfig, ClusterConfigError } from "./config.ts";
import { withGivenCaOnly } from "./given_ca.ts";

function run(config: ClusterConfig, env: Record<string, string>): { config: ClusterConfig; lines: string[] } {
  const lines: string[] = [];
  const log = createLogger({
    format: "json",
    level: 1,
    write: (line) => lines.push(line),
    clock: systemClock,
  });
  return { config: withGivenCaOnly(config, { host: { env: (name) => env[name] }, log }), lines };
}

const CONFIG: ClusterConfig = { server: "https://api.example", caCertificates: "PEM" };
const CLEAN = { DENO_TLS_CA_STORE: "" };

Deno.test("other CAs than the given ones are shut out where the environment brings any", () => {
  const rows: [ClusterConfig, Record<string, string>, boolean][] = [
    [CONFIG, CLEAN, false],
    [CONFIG, { ...CLEAN, NODE_EXTRA_CA_CERTS: "" }, false],
    [CONFIG, { ...CLEAN, SSL_CERT_FILE: "/x.pem" }, false], // read for the store `system` only
    [CONFIG, {}, true],
    [CONFIG, { DENO_TLS_CA_STORE: "mozilla" }, true],
    [CONFIG, { DENO_TLS_CA_STORE: "system" }, true],
    [CONFIG, { ...CLEAN, DENO_CERT: "/x.pem" }, true],
    [CONFIG, { ...CLEAN, DENO_CERT: "" }, true],
    [CONFIG, { ...CLEAN, NODE_EXTRA_CA_CERTS: "/x.pem" }, true],
    [{ server: "https://api.example", caSource: () => Promise.resolve("PEM") }, {}, true],
    // Nothing is given, so that the environment says whom to trust.
    [{ server: "https://api.example" }, { NODE_EXTRA_CA_CERTS: "/x.pem" }, false],
    [{ server: "http://api.example", caCertificates: "PEM" }, {}, false],
  ];
  for (const [config, env, wanted] of rows) {
    const result = run(config, env);
    const expected = wanted ? { ...config, givenCaOnly: true } : config;
    assert.deepEqual(result.config, expected, JSON.stringify([config, env]));
    assert.equal(result.lines.length, wanted ? 1 : 0);
  }
});

Deno.test("a proxy, which cannot be had then, is refused with what to do", () => {
  const config = { ...CONFIG, proxyUrl: "http://proxy.example" };
  assert.deepEqual(run(config, CLEAN).config, config);
  assert.throws(
    () => run(config, { NODE_EXTRA_CA_CERTS: "/x.pem" }),
    (error) =>
      error instanceof ClusterConfigError && /unset DENO_CERT and NODE_EXTRA_CA_CERTS/.test(error.message),
  );
});
