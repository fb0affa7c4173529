/**
 * The yardstick: writes one body to many namespaces by server-side apply, so many at once, and does nothing else. Its first line of
 * input is a {@linkcode BareLoopOrder}; it starts at the second, prints the seconds that it took, and ends at the third.
 */
import { APPLY_PATCH, METADATA_ONLY } from "../lib/kube/client.ts";
import { FIELD_MANAGER } from "../lib/api/bundle.ts";
import { TextLineStream } from "./text_line_stream.ts";

/** What a bare loop is to write. */
export interface BareLoopOrder {
  readonly server: string;
  /** PEM. */
  readonly caCertificates: string;
  readonly token: string;
  readonly namespaces: readonly string[];
  /** Name of the ConfigMap in each of them. */
  readonly name: string;
  readonly body: unknown;
  readonly atOnce: number;
}

async function write(order: BareLoopOrder, body: Uint8Array<ArrayBuffer>, client: Deno.HttpClient) {
  const rest = order.namespaces.values();
  const headers = {
    authorization: `Bearer ${order.token}`,
    accept: METADATA_ONLY,
    "accept-encoding": "identity",
    "content-type": APPLY_PATCH,
  };
  await Promise.all(Array.from({ length: order.atOnce }, async () => {
    for (const namespace of rest) {
      const path = `/api/v1/namespaces/${namespace}/configmaps/${order.name}`;
      const url = `${order.server}${path}?fieldManager=${FIELD_MANAGER}&force=true`;
      for (let attempts = 3;; attempts--) {
        const response = await fetch(url, { method: "PATCH", headers, body, client });
        const text = await response.text();
        if (response.ok) break;
        // With thousands of targets of this size, etcd times out now and then.
        if (response.status < 500 || attempts === 1) {
          throw new Error(`PATCH ${path} was answered with ${response.status}: ${text}`);
        }
      }
    }
  }));
}

async function main(): Promise<void> {
  const lines = Deno.stdin.readable
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream())
    .getReader();
  const order: BareLoopOrder = JSON.parse((await lines.read()).value ?? "");
  const body = new TextEncoder().encode(JSON.stringify(order.body));
  using client = Deno.createHttpClient({ caCerts: [order.caCertificates] });
  // The connection is there before the clock starts.
  await (await fetch(`${order.server}/readyz`, { client })).body?.cancel();
  console.log("ready");
  await lines.read();
  const start = performance.now();
  await write(order, body, client);
  console.log((performance.now() - start) / 1000);
  await lines.read();
  await lines.cancel();
}

if (import.meta.main) await main();
