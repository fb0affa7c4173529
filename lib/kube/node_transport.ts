import type { IncomingMessage } from "node:http";
import type { Transport, TransportOptions } from "./transport.ts";

/**
 * `node:https`, HTTP/1.1: for what Deno's `fetch` lacks, another name than the URL's for the server's certificate, no
 * verification of it at all, and no CA but the given ones. The module is imported here and not at the top, because a bundle would load it at its start.
 */
export async function createNodeTransport(options: TransportOptions): Promise<Transport> {
  const { Agent, request } = await import("node:https");
  const agent = new Agent({
    // A connection for each request: Deno 2.9 sends a request on a kept connection a second time when it is destroyed.
    keepAlive: false,
    rejectUnauthorized: options.insecureSkipTlsVerify !== true,
    ...(options.tlsServerName === undefined ? {} : { servername: options.tlsServerName }),
    ...(options.caCertificates === undefined ? {} : { ca: options.caCertificates }),
    ...(options.clientCertificate === undefined
      ? {}
      : { cert: options.clientCertificate.certificate, key: options.clientCertificate.key }),
  });
  return {
    send: ({ method, url, headers, body, signal }) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const outgoing = request(url, { method, agent, headers: grouped(headers) });
        signal.addEventListener("abort", () => {
          reject(signal.reason);
          outgoing.destroy();
        }, { once: true });
        outgoing.on("error", reject);
        outgoing.on("response", (answer) => {
          try {
            resolve(toResponse(answer));
          } catch (error) {
            // A status that is none.
            reject(error);
            outgoing.destroy();
          }
        });
        outgoing.end(body);
      }),
    close: () => agent.destroy(),
  };
}

/** Headers as `node:http` takes them: a name that comes more than once has a list. */
function grouped(headers: readonly (readonly [string, string])[]): Record<string, string[]> {
  const lists: Record<string, string[]> = {};
  for (const [name, value] of headers) (lists[name] ??= []).push(value);
  return lists;
}

function toResponse(answer: IncomingMessage): Response {
  const headers = new Headers();
  for (const [name, values] of Object.entries(answer.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value);
  }
  const status = answer.statusCode ?? 0;
  const bodiless = status === 204 || status === 304;
  if (bodiless) answer.resume();
  return new Response(bodiless ? null : ReadableStream.from(answer), { status, headers });
}
