/**
 * Listens with all three servers, as the operator does with its defaults, and prints which of them a client reaches by IPv4 and IPv6, as
 * JSON. Started by address_families_test.ts in a network of its own.
 */
import https from "node:https";
import { systemClock } from "../lib/clock.ts";
import { serveHttp } from "../lib/http_server.ts";
import { createLogger } from "../lib/log.ts";
import { parseCommandLine } from "../lib/options.ts";
import { answerInStages, refuseHead } from "../webhook/admission_handler.ts";
import { testKeyPair } from "../webhook/test_key_pair.ts";
import { DEFAULT_LIMITS, TlsServer } from "../webhook/tls_server.ts";

const log = createLogger({ format: "text", level: 1, write: console.error, clock: systemClock });
const command = parseCommandLine([...Deno.args]);
if (command.run !== "operator") throw new Error("Flags of a start are expected");
const routes = new Map([["/ok", () => new Response("ok")]]);
const plain = { port: 0, routes, clock: systemClock, log };
const webhook = await TlsServer.listen({
  host: command.options.webhookHost,
  port: 0,
  minVersion: "TLSv1.2",
  limits: DEFAULT_LIMITS,
  refuse: refuseHead,
  answer: (body) => answerInStages(body, () => []),
  clock: systemClock,
  log,
});
webhook.use((await testKeyPair()).pair);
const probes = await serveHttp({ ...plain, what: "probes" });
const metrics = await serveHttp({ ...plain, what: "metrics" });

async function reachesPlain(host: string, port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://${host.includes(":") ? `[${host}]` : host}:${port}/ok`);
    return await response.text() === "ok";
  } catch {
    return false;
  }
}

function reachesWebhook(host: string, port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const request = https.get({ host, port, agent: false, rejectUnauthorized: false }, (response) => {
    response.resume();
    resolve(response.statusCode === 404);
  });
  request.on("error", () => resolve(false));
  return promise;
}

const reached: Record<string, string[]> = {};
for (const [family, host] of [["IPv4", "127.0.0.1"], ["IPv6", "::1"]] as const) {
  reached[family] = [
    ...await reachesWebhook(host, webhook.port) ? ["webhook"] : [],
    ...await reachesPlain(host, metrics.port) ? ["metrics"] : [],
    ...await reachesPlain(host, probes.port) ? ["probes"] : [],
  ];
}
console.log(JSON.stringify(reached));
Deno.exit();
