import assert from "node:assert/strict";
import { FakeApiServer } from "../tests/fake_api_server.ts";
import { FakeClock } from "../tests/fake_clock.ts";
import { KubeConnectionError } from "../lib/kube/errors.ts";
import { createLogger } from "../lib/log.ts";
import { SelfCertificates } from "./self_certificates.ts";

Deno.test("an API server that cannot be reached is one line a minute, for the certificate and its watches", async () => {
  const clock = new FakeClock();
  const server = new FakeApiServer(clock);
  server.intercept = () => new KubeConnectionError("Cannot reach the server: refused", { timedOut: false });
  const lines: string[] = [];
  const certificates = new SelfCertificates({
    connect: () => server,
    namespace: "cert-manager",
    secretName: "trust-manager-tls",
    serviceName: "trust-manager",
    configurationName: "trust-manager",
    clock,
    random: () => 0.5,
    log: createLogger({ format: "text", level: 1, write: (line) => lines.push(line), clock }),
  });
  const stop = new AbortController();
  const done = certificates.run(() => {}, stop.signal);
  await clock.advance(150_000);
  assert.equal(lines.length, 3, lines.join("\n"));
  for (const line of lines) {
    assert.match(
      line,
      /err="Cannot reach the server: refused" failing="webhook certificate, [^"]*webhook secret/,
    );
  }
  assert.match(
    certificates.problem() ?? "",
    /Secret cert-manager\/trust-manager-tls: Cannot reach the server/,
  );
  stop.abort();
  await clock.advance(1_000);
  await done;
  assert.equal(clock.timers, 0);
});
