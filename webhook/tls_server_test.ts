import assert from "node:assert/strict";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { systemClock } from "../lib/clock.ts";
import { createLogger, type Logger } from "../lib/log.ts";
import { admissionReview, bundleOf } from "../tests/admission_review.ts";
import { FakeClock } from "../tests/fake_clock.ts";
import { until } from "../tests/until.ts";
import { answerInStages, refuseHead, WEBHOOK_PATH } from "./admission_handler.ts";
import { type TestKeyPair, testKeyPair } from "./test_key_pair.ts";
import { DEFAULT_LIMITS, type ServerLimits, TlsServer, type TlsServerOptions } from "./tls_server.ts";

const quiet: Logger = createLogger({ format: "json", level: 0, write: () => {}, clock: systemClock });
const review = JSON.stringify(admissionReview(bundleOf({ spec: { sources: [{ inLine: "pem" }] } })));

/** Limits that differ from each other and from the second that a refused request may go on, so that it can be told which one runs. */
const LIMITS = { headMs: 3_000, bodyMs: 2_000 };

/** After how many milliseconds in vain a client gives up, and with it the test. */
const DEADLINE_MS = 40_000;

/**
 * A server on a free port, with a certificate. Its time stands still until a test moves it, so that a slow machine makes no client late.
 */
class Fixture implements AsyncDisposable {
  readonly server: TlsServer;
  readonly keyPair: TestKeyPair;
  readonly clock: FakeClock;
  readonly #clients: tls.TLSSocket[] = [];

  constructor(server: TlsServer, keyPair: TestKeyPair, clock: FakeClock) {
    this.server = server;
    this.keyPair = keyPair;
    this.clock = clock;
  }

  static async start(
    limits: Partial<ServerLimits> = {},
    options: {
      host?: string;
      minVersion?: "TLSv1.2" | "TLSv1.3";
      log?: Logger;
      answer?: TlsServerOptions["answer"];
    } = {},
  ): Promise<Fixture> {
    const keyPair = await testKeyPair();
    const clock = new FakeClock();
    const { host = "127.0.0.1", log = quiet, minVersion = "TLSv1.2" } = options;
    const { answer = (body: Uint8Array) => answerInStages(body, () => []) } = options;
    const server = await TlsServer.listen({
      host,
      port: 0,
      minVersion,
      limits: { ...DEFAULT_LIMITS, ...limits },
      refuse: refuseHead,
      answer,
      clock,
      log,
    });
    server.use(keyPair.pair);
    return new Fixture(server, keyPair, clock);
  }

  /** A TLS connection. */
  async connect(options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
    const { port } = this.server;
    const socket = tls.connect({
      host: "127.0.0.1",
      port,
      servername: "localhost",
      ca: this.keyPair.ca,
      ...options,
    });
    this.#clients.push(socket);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once("secureConnect", resolve);
    socket.on("error", reject);
    socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error("No TLS handshake in time")));
    await promise;
    socket.setTimeout(0);
    return socket;
  }

  /** A valid request on a connection of its own; resolves to the status. */
  request(
    body: string = review,
    options: https.RequestOptions = {},
  ): Promise<{ status: number; text: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
    const request = https.request({
      host: "127.0.0.1",
      port: this.server.port,
      servername: "localhost",
      ca: this.keyPair.ca,
      path: WEBHOOK_PATH,
      method: "POST",
      agent: false,
      timeout: DEADLINE_MS,
      headers: {
        "content-type": "application/json",
        "content-length": new TextEncoder().encode(body).length,
      },
      ...options,
    }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => text += chunk);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.on("timeout", () => request.destroy(new Error("No answer in time")));
    request.end(body);
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    const closed = this.server.close(0);
    await this.clock.advance(0);
    await closed;
  }
}

/** What the server has sent so far, and whether the connection has ended. */
function received(socket: net.Socket): { readonly text: string; readonly ended: boolean } {
  const got = { text: "", ended: false };
  socket.on("data", (chunk) => got.text += new TextDecoder().decode(chunk));
  socket.on("error", () => {});
  socket.on("close", () => got.ended = true);
  return got;
}

const HEAD = `POST ${WEBHOOK_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n`;

Deno.test("a review is answered", async () => {
  await using fixture = await Fixture.start();
  const { status, text } = await fixture.request();
  assert.equal(status, 200);
  assert.equal(JSON.parse(text).response.allowed, true);
});

Deno.test("one connection serves many requests", async () => {
  await using fixture = await Fixture.start();
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < 50; i++) assert.equal((await fixture.request(review, { agent })).status, 200);
  assert.equal(fixture.server.connections, 1);
  agent.destroy();
});

Deno.test("requests that are refused by their head", async () => {
  await using fixture = await Fixture.start();
  assert.equal((await fixture.request(review, { path: "/" })).status, 404);
  assert.equal((await fixture.request(review, { method: "PUT" })).status, 405);
  assert.equal((await fixture.request(review, { headers: { "content-type": "text/plain" } })).status, 415);
  assert.equal((await fixture.request()).status, 200);
});

Deno.test("the minimum TLS version is enforced, also after a rotation", async () => {
  await using fixture = await Fixture.start({}, { minVersion: "TLSv1.3" });
  for (let i = 0; i < 2; i++) {
    await assert.rejects(fixture.connect({ maxVersion: "TLSv1.2" }));
    assert.equal((await fixture.request()).status, 200);
    fixture.server.use(fixture.keyPair.pair);
  }
});

Deno.test("a new certificate serves new connections, and open ones go on", async () => {
  await using fixture = await Fixture.start();
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  assert.equal((await fixture.request(review, { agent })).status, 200);
  const next = await testKeyPair();
  fixture.server.use(next.pair);
  assert.equal((await fixture.request(review, { agent })).status, 200);
  const socket = await fixture.connect({ ca: next.ca });
  assert.equal(socket.getPeerCertificate().serialNumber, next.pair.serialNumber);
  agent.destroy();
});

Deno.test("before there is a certificate, handshakes fail and nothing else", async () => {
  const keyPair = await testKeyPair();
  const clock = new FakeClock();
  const server = await TlsServer.listen({
    host: "127.0.0.1",
    port: 0,
    minVersion: "TLSv1.2",
    limits: DEFAULT_LIMITS,
    refuse: refuseHead,
    answer: (body) => answerInStages(body, () => []),
    clock,
    log: quiet,
  });
  await using fixture = new Fixture(server, keyPair, clock);
  await assert.rejects(fixture.connect());
  server.use(keyPair.pair);
  assert.equal((await fixture.request()).status, 200);
});

Deno.test("a port that is taken", async () => {
  await using fixture = await Fixture.start();
  const { server: { port }, clock } = fixture;
  await assert.rejects(
    TlsServer.listen({
      host: "127.0.0.1",
      port,
      minVersion: "TLSv1.2",
      limits: DEFAULT_LIMITS,
      refuse: refuseHead,
      answer: (body) => answerInStages(body, () => []),
      clock,
      log: quiet,
    }),
    {
      name: "ListenError",
      message: new RegExp(`^Cannot serve the webhook on 127\\.0\\.0\\.1, port ${port}: `),
    },
  );
});

Deno.test("close answers what is being received", async () => {
  await using fixture = await Fixture.start(LIMITS);
  const idle = received(await fixture.connect());
  const socket = await fixture.connect();
  const got = received(socket);
  socket.write(`${HEAD}content-length: ${review.length}\r\n\r\n${review.slice(0, 10)}`);
  await until(() => fixture.clock.nextTimerMs === LIMITS.bodyMs, "the body is awaited");
  const closed = fixture.server.close(5_000);
  await until(() => idle.ended, "the idle connection has ended");
  socket.write(review.slice(10));
  await until(() => got.text !== "", "there is an answer");
  assert.match(got.text, /^HTTP\/1\.1 200 /);
  socket.destroy();
  await closed;
});

Deno.test("close does not wait for ever", async () => {
  await using fixture = await Fixture.start(LIMITS);
  const socket = await fixture.connect();
  const got = received(socket);
  socket.write(`${HEAD}content-length: 100\r\n\r\nabc`);
  await until(() => fixture.clock.nextTimerMs === LIMITS.bodyMs, "the body is awaited");
  const closed = fixture.server.close(50);
  await fixture.clock.advance(50);
  await until(() => got.ended, "the connection has ended");
  await closed;
});

Deno.test("a defect is answered with 500 and logged without the request", async () => {
  const lines: string[] = [];
  const log = createLogger({
    format: "json",
    level: 1,
    write: (line) => lines.push(line),
    clock: systemClock,
  });
  // deno-lint-ignore require-yield
  const answer = function* (): Generator<undefined, never, undefined> {
    throw new TypeError("defect");
  };
  await using fixture = await Fixture.start({}, { log, answer });
  assert.deepEqual(await fixture.request(), { status: 500, text: "Internal error\n" });
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /Failed to answer an admission request.*defect/);
  assert.doesNotMatch(lines[0] ?? "", /pem|\.ts/);
});

/** Clients that mean no good; each is sent, and what it gets back is looked at, and for how many milliseconds it is borne: none if not told. */
const hostile: Record<
  string,
  { tls: boolean; send: string | Uint8Array; answer: RegExp; borneMs?: number }
> = {
  "plain HTTP": { tls: false, send: "GET / HTTP/1.1\r\nhost: x\r\n\r\n", answer: /^[^<]*$/ },
  "garbage": {
    tls: false,
    // No TLS record begins like this. (One could be awaited to its end.)
    send: crypto.getRandomValues(new Uint8Array(10_000)).fill(0xff, 0, 1),
    answer: /^[^<]*$/,
  },
  "half a TLS handshake": {
    tls: false,
    send: new Uint8Array([0x16, 3, 1, 2, 0, 1, 0]),
    answer: /^$/,
    borneMs: LIMITS.headMs,
  },
  "nothing, before the handshake": { tls: false, send: "", answer: /^$/, borneMs: LIMITS.headMs },
  "nothing, after the handshake": { tls: true, send: "", answer: /^$/, borneMs: LIMITS.headMs },
  "half a head": {
    tls: true,
    send: "POST / HTTP/1.1\r\nhost: x\r\n",
    answer: /^$/,
    borneMs: LIMITS.headMs,
  },
  "a head that is no HTTP": { tls: true, send: "hello\r\n\r\n", answer: /^(HTTP\/1\.1 400 .*)?$/s },
  "a body that does not end": {
    tls: true,
    send: `${HEAD}content-length: 100\r\n\r\nabc`,
    answer: /^$/,
    borneMs: LIMITS.bodyMs,
  },
  "chunks that do not end": {
    tls: true,
    send: `${HEAD}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n`,
    answer: /^$/,
    borneMs: LIMITS.bodyMs,
  },
  "a body that says that it is too large": {
    tls: true,
    send: `${HEAD}content-length: 104857600\r\n\r\nabc`,
    answer: /^HTTP\/1\.1 413 .*larger than 4194304 bytes/si,
    borneMs: 1_000,
  },
  "a length that is no number": {
    tls: true,
    send: `${HEAD}content-length: lots\r\n\r\nabc`,
    answer: /^(HTTP\/1\.1 4.*)?$/s,
  },
  "a head that is too large": {
    tls: true,
    send: `${HEAD}x: ${"y".repeat(1_000_000)}\r\n\r\n`,
    answer: /^(HTTP\/1\.1 4.*)?$/s,
  },
};

for (const [name, { tls: secure, send, answer, borneMs }] of Object.entries(hostile)) {
  Deno.test(`hostile client: ${name}`, async () => {
    await using fixture = await Fixture.start(LIMITS);
    const { server, clock } = fixture;
    const socket = secure ? await fixture.connect() : net.connect(server.port, "127.0.0.1");
    const got = received(socket);
    if (send.length > 0) socket.write(send);
    assert.equal((await fixture.request()).status, 200);
    if (borneMs !== undefined) {
      await until(
        () => server.connections === 1 && clock.nextTimerMs === borneMs && answer.test(got.text),
        () =>
          `it alone is left, answered, for ${borneMs} ms; connections: ${server.connections}, ` +
          `the next limit: ${clock.nextTimerMs} ms, answer: ${JSON.stringify(got.text)}`,
      );
      await clock.advance(borneMs);
    }
    await until(() => got.ended && server.connections === 0, "the connection has ended and is forgotten");
    assert.match(got.text, answer);
    assert.equal((await fixture.request()).status, 200);
  });
}

Deno.test("hostile client: 100 MB in chunks are cut off at the limit", async () => {
  await using fixture = await Fixture.start();
  const before = Deno.memoryUsage().rss;
  const socket = await fixture.connect();
  const got = received(socket);
  socket.write(`${HEAD}transfer-encoding: chunked\r\n\r\n`);
  const chunk = "x".repeat(1_000_000);
  let sent = 0;
  while (sent < 100_000_000 && !got.ended) {
    socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`);
    sent += chunk.length;
    await until(() => socket.writableLength === 0 || got.ended, "the chunk has been sent");
  }
  await until(() => got.ended, "the connection has ended");
  // Who goes on sending may not see the answer any more.
  assert.match(got.text, /^(HTTP\/1\.1 413 .*)?$/s);
  assert.ok(sent < 50_000_000, `${sent} bytes were sent`);
  assert.equal((await fixture.request()).status, 200);
  assert.ok(Deno.memoryUsage().rss - before < 150e6, `${(Deno.memoryUsage().rss - before) / 1e6} MB more`);
});

Deno.test("hostile clients: 1,000 silent connections do not keep a valid request out", async () => {
  await using fixture = await Fixture.start();
  const { port } = fixture.server;
  const silent = Array.from({ length: 1_000 }, () => {
    const socket = net.connect(port, "127.0.0.1");
    socket.on("error", () => {});
    return socket;
  });
  await until(() => fixture.server.connections === DEFAULT_LIMITS.connections, "the limit is reached");
  for (let i = 0; i < 5; i++) assert.equal((await fixture.request()).status, 200);
  assert.ok(fixture.server.connections <= DEFAULT_LIMITS.connections);
  for (const socket of silent) socket.destroy();
});

Deno.test("hostile clients: slow large bodies make room for a valid request", async () => {
  await using fixture = await Fixture.start({ allBodiesBytes: 300_000, bodyBytes: 200_000 });
  const sockets = await Promise.all(Array.from({ length: 4 }, () => fixture.connect()));
  const answers = sockets.map(received);
  for (const socket of sockets) {
    socket.write(`${HEAD}content-length: 150000\r\n\r\n${"x".repeat(100_000)}`);
  }
  const refused = () => answers.filter(({ text }) => text.startsWith("HTTP/1.1 503 "));
  await until(() => refused().length > 0, "one was refused");
  assert.equal((await fixture.request()).status, 200);
  await fixture.clock.advance(1_000);
  await until(() => refused().some(({ ended }) => ended), "one was put off");
});

Deno.test("a connection that has brought a request is not put off for new ones", async () => {
  await using fixture = await Fixture.start({ connections: 4 });
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  assert.equal((await fixture.request(review, { agent })).status, 200);
  for (let i = 0; i < 8; i++) await fixture.connect();
  // The agent would open another connection without saying so.
  const free = Object.values(agent.freeSockets).flat();
  assert.deepEqual(free.map((socket) => socket?.destroyed), [false]);
  assert.equal((await fixture.request(review, { agent })).status, 200);
  assert.ok(fixture.server.connections <= 4);
  agent.destroy();
});

/** The client's side of a head and one byte of a body, on a TLS connection. */
async function sendsOneByte(fixture: Fixture): Promise<tls.TLSSocket> {
  const socket = await fixture.connect();
  socket.on("error", () => {});
  socket.write(`${HEAD}content-length: 100\r\n\r\nx`);
  return socket;
}

Deno.test("hostile clients: unfinished requests do not put an idle connection off, nor keep a valid request out", async () => {
  await using fixture = await Fixture.start({ connections: 8 });
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  assert.equal((await fixture.request(review, { agent })).status, 200);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 10; i++) await sendsOneByte(fixture);
    await until(() => fixture.server.connections === 8, "the limit is reached");
    assert.deepEqual(Object.values(agent.freeSockets).flat().map((socket) => socket?.destroyed), [false]);
    assert.equal((await fixture.request(review, { agent })).status, 200);
    assert.equal((await fixture.request()).status, 200);
    await fixture.clock.advance(1_500);
  }
  agent.destroy();
});

Deno.test("the wildcard listens on IPv4 and IPv6, with the same certificate also after a rotation", async () => {
  await using fixture = await Fixture.start({}, { host: "0.0.0.0" });
  for (let i = 0; i < 2; i++) {
    for (const host of ["127.0.0.1", "::1"]) {
      assert.equal((await fixture.request(review, { host })).status, 200, host);
    }
    fixture.server.use(fixture.keyPair.pair);
  }
});

Deno.test("an answer that does not come in time is a refusal", async () => {
  await using fixture = await Fixture.start({ answerMs: 7_000 }, {
    answer: function* () {
      while (true) yield;
    },
  });
  // Large ones are answered in stages.
  const body = JSON.stringify({ text: "x".repeat(100_000) });
  const answer = fixture.request(body);
  await until(() => fixture.clock.nextTimerMs === 7_000, "the answer is awaited");
  await fixture.clock.advance(7_000);
  assert.equal((await answer).status, 503);
});
