/**
 * How fast the admission webhook answers, next to the Go trust-manager in the same run: latency of one request at a time, and how many
 * a second with several at once. AdmissionReviews are posted directly, over connections that stay open, as API servers do. Prints
 * Markdown for README.md.
 */
import tls from "node:tls";
import type { BundleSpec } from "../lib/api/bundle.ts";
import { admissionReview, bundleOf } from "../tests/admission_review.ts";
import { pemText, ROOT_1 } from "../tests/builders.ts";
import { freePort } from "../tests/cluster/free_ports.ts";
import { TestCluster } from "../tests/e2e/test_cluster.ts";
import { startPeer } from "../tests/peer/run_peer.ts";
import { WEBHOOK_PATH } from "../webhook/admission_handler.ts";
import { testKeyPair } from "../webhook/test_key_pair.ts";

/** How often each is measured, in turns. */
const ROUNDS = 3;
const AT_ONCE = 8;

/** Something that answers AdmissionReviews. */
interface Webhook {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
}

/** A request, over and over. */
interface Load {
  readonly name: string;
  readonly allowed: boolean;
  readonly request: Uint8Array;
  /** How many are sent in a round. */
  readonly requests: number;
}

/** What one round came to; times are milliseconds. */
interface Round {
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
}

const target = { configMap: { key: "ca.crt" } };
const SYSTEM_BUNDLE = await Deno.readTextFile("/etc/ssl/certs/ca-certificates.crt");
const LOADS: readonly Load[] = [
  load("good, one certificate", true, 2_000, { sources: [{ inLine: pemText(ROOT_1) }], target }),
  load("refused", false, 2_000, { sources: [{ useDefaultCAs: true }, { useDefaultCAs: true }], target }),
  load("good, 220 kB of certificates", true, 300, { sources: [{ inLine: SYSTEM_BUNDLE }], target }),
];

function load(name: string, allowed: boolean, requests: number, spec: BundleSpec): Load {
  const body = new TextEncoder().encode(JSON.stringify(admissionReview(bundleOf({ spec }))));
  const head = `POST ${WEBHOOK_PATH}?timeout=5s HTTP/1.1\r\nhost: webhook\r\naccept: application/json\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  return {
    name,
    allowed,
    requests,
    request: new TextEncoder().encode(head + new TextDecoder().decode(body)),
  };
}

/** One connection, and one request at a time on it. */
class Client {
  readonly #socket: tls.TLSSocket;
  #received = "";
  #answered: (body: string) => void = () => {};

  constructor(socket: tls.TLSSocket) {
    this.#socket = socket;
    socket.setEncoding("latin1"); // a character a byte, as lengths count
    socket.on("data", (text: string) => {
      this.#received += text;
      const end = this.#received.indexOf("\r\n\r\n");
      const length = /content-length: (\d+)/i.exec(this.#received)?.[1];
      if (end < 0 || length === undefined || this.#received.length < end + 4 + Number(length)) return;
      const body = this.#received.slice(end + 4);
      this.#received = "";
      this.#answered(body);
    });
  }

  static async connect(port: number): Promise<Client> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Who is measured is known; the certificates differ.
    const socket = tls.connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, resolve);
    socket.on("error", reject);
    await promise;
    return new Client(socket);
  }

  /** Sends the request; resolves to the time until the whole answer is there, in milliseconds. */
  async send({ request, allowed }: Load): Promise<number> {
    const start = performance.now();
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#answered = resolve;
    this.#socket.write(request);
    const body = await promise;
    const took = performance.now() - start;
    if (!body.includes(`"allowed":${allowed}`)) throw new Error(`Unexpected answer: ${body.slice(0, 500)}`);
    return took;
  }

  close(): void {
    this.#socket.destroy();
  }
}

async function measure({ port }: Webhook, load: Load, atOnce: number): Promise<Round> {
  const clients = await Promise.all(Array.from({ length: atOnce }, () => Client.connect(port)));
  const times: number[] = [];
  let sent = 0;
  const start = performance.now();
  await Promise.all(clients.map(async (client) => {
    while (sent++ < load.requests) times.push(await client.send(load));
  }));
  const seconds = (performance.now() - start) / 1000;
  clients.forEach((client) => client.close());
  times.sort((a, b) => a - b);
  const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? NaN;
  return { p50: quantile(0.5), p99: quantile(0.99), perSecond: times.length / seconds };
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
}

/** Resident memory of a process, in MB. */
async function rss(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

await using cluster = await TestCluster.start();
const dir = await Deno.makeTempDir();
const { pair } = await testKeyPair();
await Deno.writeTextFile(`${dir}/tls.crt`, pair.certificate);
await Deno.writeTextFile(`${dir}/tls.key`, pair.privateKey);
const port = freePort();
await using operator = await cluster.operator(
  "--webhook-enabled=true",
  "--webhook-host=127.0.0.1",
  `--webhook-port=${port}`,
  `--webhook-certificate-dir=${dir}`,
  "--leader-elect=false",
  "--log-level=1",
);
await using peer = await startPeer({ kubeconfig: cluster.operatorKubeconfig });
const webhooks: readonly Webhook[] = [
  { name: "this project", port, pid: operator.pid },
  { name: "Go trust-manager", port: Number(new URL(peer.webhookUrl).port), pid: peer.pid },
];

console.log(
  `| Request | Webhook | p50, ms | p99, ms | p99 of ${AT_ONCE} at once, ms | a second, ${AT_ONCE} at once |`,
);
console.log("| --- | --- | --- | --- | --- | --- |");
for (const load of LOADS) {
  // The first time does not count.
  for (const webhook of webhooks) await measure(webhook, load, AT_ONCE);
  const alone = webhooks.map((): Round[] => []);
  const crowd = webhooks.map((): Round[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, webhook] of webhooks.entries()) {
      alone[i]?.push(await measure(webhook, load, 1));
      crowd[i]?.push(await measure(webhook, load, AT_ONCE));
    }
  }
  for (const [i, { name }] of webhooks.entries()) {
    const of = (rounds: readonly Round[] | undefined, field: keyof Round) =>
      median((rounds ?? []).map((round) => round[field]));
    console.log(
      `| ${load.name} | ${name} | ${of(alone[i], "p50").toFixed(2)} | ${of(alone[i], "p99").toFixed(2)} | ` +
        `${of(crowd[i], "p99").toFixed(1)} | ${of(crowd[i], "perSecond").toFixed(0)} |`,
    );
  }
}
console.log();
for (const { name, pid } of webhooks) {
  console.log(`Memory of ${name} after it: ${(await rss(pid)).toFixed(0)} MB`);
}
await Deno.remove(dir, { recursive: true });
