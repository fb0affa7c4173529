import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { FakeClock, settled } from "../../tests/fake_clock.ts";
import { type Clock, systemClock } from "../clock.ts";
import { createLogger } from "../log.ts";
import type { KubeClient } from "./client.ts";
import {
  type ClientCertificate,
  type ClusterConfig,
  ClusterConfigError,
  type Credentials,
} from "./config.ts";
import { KubeConnectionError, KubeStatusError } from "./errors.ts";
import { createKubeClient, type ResponseInfo } from "./http_client.ts";
import { makeTestCertificates } from "./test_certificates.ts";
import { TestProxy } from "./test_proxy.ts";

const certificates = await makeTestCertificates();
const [one, two] = certificates.clients;

/** A client that is closed at the end of a test; `responses` and `lines` tell what it reported. */
function connect(config: ClusterConfig, clock: Clock = systemClock) {
  const responses: ResponseInfo[] = [];
  const lines: string[] = [];
  const log = createLogger({ format: "text", level: 5, clock, write: (line) => lines.push(line) });
  const client = createKubeClient(config, {
    clock,
    log,
    random: () => 1,
    userAgent: "test/1",
    onResponse: (info) => responses.push(info),
  });
  return { client, responses, lines, [Symbol.dispose]: () => client.close() };
}

/** An HTTP server without TLS. */
function serve(handler: (request: Request, url: URL) => Response | Promise<Response>) {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {}, onError: () => new Response(null, { status: 500 }) },
    (request) => handler(request, new URL(request.url)),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { port: server.addr.port, url, [Symbol.asyncDispose]: () => server.shutdown() };
}

/** An HTTPS server with HTTP/2 and 1.1 that answers with what it sees of each request, or with `answer`. */
async function serveTls(
  { certificate, key }: ClientCertificate,
  options: { readonly clientCertificates?: boolean; readonly http1Only?: boolean } = {},
  answer: (request: IncomingMessage, response: ServerResponse) => void = (request, response) => {
    const peer = request.socket as unknown as { getPeerCertificate?(): { subject?: { CN?: string } } };
    const client = options.clientCertificates ? peer.getPeerCertificate?.().subject?.CN : undefined;
    response.end(JSON.stringify({ version: request.httpVersion, headers: request.rawHeaders, client }));
  },
) {
  const sockets = new Set<{ destroy(): void }>();
  const tls = {
    cert: certificate,
    key,
    ...(options.clientCertificates
      ? { requestCert: true, rejectUnauthorized: true, ca: certificates.ca }
      : {}),
  };
  const server = options.http1Only
    ? https.createServer(tls, answer)
    : http2.createSecureServer({ ...tls, allowHTTP1: true }, answer as never);
  server.on("session", (session) => sockets.add(session));
  server.on("secureConnection", (socket) => sockets.add(socket));
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    url: `https://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Seen {
  readonly version: string;
  readonly headers: readonly string[];
  readonly client?: string;
}

/** Waits until `condition` holds. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Waited too long for: ${what}`);
    await settled();
  }
}

/** The error that `promise` is rejected with. */
async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof Error);
    return error;
  }
  throw new Error("Succeeded");
}

const refusal = (code: number, message = "no", headers: Record<string, string> = {}) =>
  Response.json({ kind: "Status", message, reason: "Reason", code }, { status: code, headers });

// What is sent

Deno.test("request sends path, query, headers and credentials, and returns the decoded answer", async () => {
  await using server = serve((request, url) =>
    Response.json({
      url: url.pathname + url.search,
      headers: Object.fromEntries(request.headers),
      method: request.method,
    })
  );
  using it = connect({
    server: `${server.url}/base`,
    credentials: () => Promise.resolve({ authorization: "Bearer t" }),
    impersonate: [["Impersonate-User", "jane"]],
  });
  const query = { limit: 500, watch: true, labelSelector: "a=b,c", gone: undefined };
  const seen = await it.client.request<{ url: string; headers: Record<string, string>; method: string }>({
    path: "/api/v1/x%2Fy",
    query,
  });
  assert.equal(seen.method, "GET");
  assert.equal(seen.url, "/base/api/v1/x%2Fy?limit=500&watch=true&labelSelector=a%3Db%2Cc");
  const { accept, authorization, ...headers } = seen.headers;
  assert.deepEqual([accept, authorization], ["application/json", "Bearer t"]);
  assert.equal(headers["accept-encoding"], "identity");
  assert.equal(headers["user-agent"], "test/1");
  assert.equal(headers["impersonate-user"], "jane");
  assert.equal(headers["content-type"], undefined);
  const host = `127.0.0.1:${server.port}`;
  assert.deepEqual(it.responses, [{ method: "GET", code: "200", host, path: "/api/v1/x%2Fy" }]);
});

Deno.test("request sends values as JSON, and bytes as they are, small and large", async () => {
  await using server = serve(async (request) =>
    Response.json({
      method: request.method,
      type: request.headers.get("content-type"),
      body: (await request.bytes()).toHex(),
    })
  );
  using it = connect({ server: server.url });
  const small = new TextEncoder().encode('{"a":1}');
  const large = new Uint8Array(1_000_000).map((_, index) => index % 251);
  const patch = { method: "PATCH", path: "/", contentType: "application/apply-patch+yaml" } as const;
  const answers = [
    await it.client.request({ method: "POST", path: "/", body: { a: 1 } }),
    await it.client.request({ ...patch, body: small }),
    await it.client.request({ ...patch, body: large }),
    await it.client.request({ ...patch, body: large }),
  ];
  const patched = { method: "PATCH", type: patch.contentType };
  assert.deepEqual(answers, [
    { method: "POST", type: "application/json", body: small.toHex() },
    { ...patched, body: small.toHex() },
    { ...patched, body: large.toHex() },
    { ...patched, body: large.toHex() },
  ]);
});

Deno.test("request returns undefined for an empty answer", async () => {
  await using server = serve(() => new Response(null, { status: 204 }));
  using it = connect({ server: server.url });
  assert.equal(await it.client.request({ method: "DELETE", path: "/" }), undefined);
});

// What comes back

Deno.test("request throws the API server's Status, and what proxies say", async () => {
  await using server = serve((_, url) =>
    url.pathname === "/status"
      ? refusal(403, 'x is forbidden: "y"')
      : new Response("<p>Not\nhere</p>", { status: 404 })
  );
  using it = connect({ server: server.url });
  const status = await failure(it.client.request({ path: "/status" }));
  assert(status instanceof KubeStatusError);
  assert.deepEqual(status.status, { code: 403, reason: "Reason", message: 'x is forbidden: "y"' });
  const html = await failure(it.client.request({ path: "/html" }));
  assert(html instanceof KubeStatusError);
  assert.equal(html.message, "The server answered with HTTP status 404: <p>Not here</p>");
  assert.deepEqual(it.responses.map(({ code }) => code), ["403", "404"]);
});

Deno.test("request follows no redirect: its credentials are for one server only", async () => {
  await using server = serve((_, url) =>
    url.pathname === "/" ? Response.redirect(`${url.origin}/login`) : Response.json({})
  );
  using it = connect({ server: server.url });
  assert.match((await failure(it.client.request({ path: "/" }))).message, /HTTP status 302/);
});

Deno.test("request quotes nothing of an answer that is not JSON", async () => {
  await using server = serve(() =>
    new Response('{"data": hush', { headers: { "content-type": "application/json" } })
  );
  using it = connect({ server: server.url });
  const error = await failure(it.client.request({ path: "/", attempts: 1 }));
  assert(error instanceof KubeConnectionError);
  assert.equal(
    error.message,
    `${server.url} did not answer in JSON: is it a Kubernetes API server? (13 characters)`,
  );
});

Deno.test("request says why it could not connect", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  using it = connect({ server: `http://127.0.0.1:${port}` });
  const error = await failure(it.client.request({ path: "/", attempts: 1 }));
  assert(error instanceof KubeConnectionError);
  assert.equal(error.timedOut, false);
  assert.match(error.message, new RegExp(`^Cannot reach http://127.0.0.1:${port}: .*Connection refused`));
  assert.deepEqual(it.responses.map(({ code }) => code), ["<error>"]);
});

// Retries

Deno.test("request tries again with growing delays, and gives up after its attempts", async () => {
  const clock = new FakeClock();
  let requests = 0;
  await using server = serve(() => {
    requests++;
    return refusal(503, "later");
  });
  using it = connect({ server: server.url }, clock);
  const failed = failure(it.client.request({ path: "/", attempts: 4 }));
  for (const [sent, ms] of [[1, 100], [2, 200], [3, 400]] as const) {
    await until(() => requests === sent && clock.nextTimerMs === ms, `retry after ${ms} ms`);
    await clock.advance(ms - 1);
    assert.equal(requests, sent);
    await clock.advance(1);
  }
  assert.equal((await failed).message, "later");
  assert.equal(requests, 4);
  assert.equal(clock.timers, 0);
  assert.equal(it.lines.length, 3);
});

Deno.test("request waits as long as Retry-After says, and sends the same body again", async () => {
  const clock = new FakeClock();
  const bodies: string[] = [];
  await using server = serve(async (request) => {
    bodies.push(await request.text());
    return bodies.length === 1 ? refusal(429, "slow", { "retry-after": "3" }) : Response.json({ ok: true });
  });
  using it = connect({ server: server.url }, clock);
  const body = new TextEncoder().encode("x".repeat(50_000));
  const done = it.client.request({ method: "PATCH", path: "/", body });
  await until(() => clock.nextTimerMs === 3100, "Retry-After and the first delay");
  await clock.advance(3100);
  assert.deepEqual(await done, { ok: true });
  assert.equal(bodies[1], bodies[0]);
  assert.equal(bodies[1]?.length, 50_000);
});

Deno.test("request reads a refusal that comes before its body was taken", async () => {
  await using server = await serveTls(certificates.server, {}, (_, response) => {
    response.statusCode = 429;
    response.end(JSON.stringify({ kind: "Status", message: "slow down" }));
  });
  using it = connect({ server: server.url, caCertificates: certificates.ca });
  const body = new Uint8Array(3_000_000);
  const error = await failure(it.client.request({ method: "PATCH", path: "/", body, attempts: 1 }));
  assert.equal(error.message, "slow down");
});

Deno.test("request tries again after a broken connection", async () => {
  const clock = new FakeClock();
  const proxies: TestProxy[] = [];
  await using server = serve((_, url) => {
    if (url.pathname === "/breaks" && proxies[0]?.connections === 1) {
      proxies[0].breakAll();
      return new Promise<Response>((resolve) => setTimeout(() => resolve(new Response()), 0));
    }
    return Response.json({ ok: true });
  });
  using proxy = new TestProxy(server.port);
  proxies.push(proxy);
  using it = connect({ server: `http://127.0.0.1:${proxy.port}` }, clock);
  const done = it.client.request({ path: "/breaks" });
  await until(() => clock.nextTimerMs === 100, "the first delay");
  await clock.advance(100);
  assert.deepEqual(await done, { ok: true });
  assert.deepEqual(it.responses.map(({ code }) => code), ["<error>", "200"]);
});

for (const code of [400, 401, 404, 409, 410, 422, 501]) {
  Deno.test(`request does not send again what was refused with ${code}`, async () => {
    let requests = 0;
    await using server = serve(() => {
      requests++;
      return refusal(code);
    });
    using it = connect({ server: server.url });
    assert((await failure(it.client.request({ path: "/" }))) instanceof KubeStatusError);
    assert.equal(requests, 1);
  });
}

// Credentials

/** A source whose token is `t1`, and another one after each time it is forced. */
function tokens() {
  let credentials: Credentials = { authorization: "t1" };
  const source = {
    forced: 0,
    credentials: ({ force }: { force: boolean }) => {
      if (force) credentials = { authorization: `t${++source.forced + 1}` };
      return Promise.resolve(credentials);
    },
  };
  return source;
}

Deno.test("request renews refused credentials once, also for a stream", async () => {
  let valid = "t2";
  await using server = serve((request) =>
    request.headers.get("authorization") === valid ? Response.json({ valid }) : refusal(401)
  );
  const source = tokens();
  using it = connect({ server: server.url, credentials: source.credentials });
  assert.deepEqual(await it.client.request({ path: "/" }), { valid: "t2" });
  assert.equal(source.forced, 1);
  valid = "t3";
  const stream = await it.client.stream({ path: "/", signal: new AbortController().signal });
  assert.equal(await new Response(stream).text(), '{"valid":"t3"}');
  valid = "none";
  const error = await failure(it.client.request({ path: "/" }));
  assert(error instanceof KubeStatusError);
  assert.equal(error.status.code, 401);
  assert.equal(source.forced, 3);
  assert.deepEqual(it.responses.map(({ code }) => code), ["401", "200", "401", "200", "401", "401"]);
});

Deno.test("many requests that are refused together renew the credentials once", async () => {
  await using server = serve((request) =>
    request.headers.get("authorization") === "t2" ? Response.json({}) : refusal(401)
  );
  const source = tokens();
  using it = connect({ server: server.url, credentials: source.credentials });
  await Promise.all(Array.from({ length: 10 }, () => it.client.request({ path: "/" })));
  assert.equal(source.forced, 1);
});

Deno.test("request without credentials to be had fails at once, with their message", async () => {
  await using server = serve(() => Response.json({}));
  using it = connect({
    server: server.url,
    credentials: () => Promise.reject(new ClusterConfigError("The plugin is not installed")),
  });
  const error = await failure(it.client.request({ path: "/" }));
  assert(error instanceof KubeConnectionError);
  assert.equal(error.message, "The plugin is not installed");
  assert.deepEqual(it.responses, []);
});

Deno.test("request does not wait for credentials beyond its deadline", async () => {
  const clock = new FakeClock();
  const { promise, resolve } = Promise.withResolvers<Credentials>();
  using it = connect({ server: "http://127.0.0.1:9", credentials: () => promise }, clock);
  const failed = failure(it.client.request({ path: "/x", attempts: 1, timeoutMs: 1000 }));
  await clock.advance(1000);
  assert.equal((await failed).message, "There were no credentials within 1000 ms for GET /x");
  resolve({});
});

// Deadlines

Deno.test("request gives up when the answer's headers, or its end, do not come in time", async () => {
  const clock = new FakeClock();
  const ends: (() => void)[] = [];
  await using server = serve((_, url) => {
    if (url.pathname === "/silent") return new Promise((resolve) => ends.push(() => resolve(new Response())));
    return new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"half":'));
        },
      }),
    );
  });
  using it = connect({ server: server.url, requestTimeoutMs: 7000 }, clock);
  for (const [path, timeoutMs] of [["/silent", 2000], ["/half", 3000], ["/half", undefined]] as const) {
    const failed = failure(
      it.client.request({ path, attempts: 1, ...(timeoutMs === undefined ? {} : { timeoutMs }) }),
    );
    const responses = it.responses.length;
    await until(() => path === "/silent" ? ends.length > 0 : it.responses.length > responses, "the request");
    const ms = timeoutMs ?? 7000;
    await clock.advance(ms - 1);
    await clock.advance(1);
    const error = await failed;
    assert(error instanceof KubeConnectionError);
    assert.equal(error.timedOut, true);
    assert.equal(error.message, `${server.url} did not answer within ${ms} ms for GET ${path}`);
  }
  ends.forEach((end) => end());
  assert.equal(clock.timers, 0);
});

Deno.test("a deadline that passes replaces a connection that is silent but open; others on it may still end", async () => {
  const clock = new FakeClock();
  const ends: (() => void)[] = [];
  await using server = await serveTls(certificates.server, {}, (request, response) => {
    const end = () => response.end(JSON.stringify({ path: request.url }));
    if (request.url === "/slow") ends.push(end);
    else end();
  });
  using proxy = new TestProxy(server.port);
  using it = connect({ server: `https://127.0.0.1:${proxy.port}`, caCertificates: certificates.ca }, clock);
  const { client } = it;
  assert.deepEqual(await client.request({ path: "/1" }), { path: "/1" });
  const slow = client.request({ path: "/slow", timeoutMs: 600_000 });
  await until(() => ends.length === 1, "the slow request");
  assert.equal(proxy.connections, 1);

  const thaw = proxy.freeze();
  const lost = [
    failure(client.request({ path: "/2", attempts: 1 })),
    failure(client.request({ path: "/3", attempts: 1 })),
  ];
  await settled();
  await clock.advance(30_000);
  for (const error of await Promise.all(lost)) {
    assert(error instanceof KubeConnectionError);
    assert.equal(error.timedOut, true);
  }
  assert.deepEqual(await client.request({ path: "/4", attempts: 1 }), { path: "/4" });
  assert.deepEqual(await client.request({ path: "/5", attempts: 1 }), { path: "/5" });
  assert.equal(proxy.connections, 2);
  assert.equal(proxy.open, 4);

  thaw();
  ends.forEach((end) => end());
  assert.deepEqual(await slow, { path: "/slow" });
  await until(() => proxy.open === 2, "the end of the old connection");
});

Deno.test("reconnect makes a new connection for later requests, and leaves those on their way", async () => {
  const ends: (() => void)[] = [];
  await using server = await serveTls(certificates.server, {}, (request, response) => {
    const end = () => response.end(JSON.stringify({ path: request.url }));
    if (request.url === "/slow") ends.push(end);
    else end();
  });
  using proxy = new TestProxy(server.port);
  using it = connect({ server: `https://127.0.0.1:${proxy.port}`, caCertificates: certificates.ca });
  const slow = it.client.request({ path: "/slow" });
  await until(() => ends.length === 1, "the slow request");
  it.client.reconnect();
  it.client.reconnect();
  await it.client.request({ path: "/" });
  assert.equal(proxy.connections, 2);
  ends.forEach((end) => end());
  await slow;
  await until(() => proxy.open === 2, "the end of the old connection");
});

// Giving up

const reason = new DOMException("enough", "AbortError");

Deno.test("request rejects with the signal's reason: before, while waiting for headers, for the body, for a retry", async () => {
  const clock = new FakeClock();
  const ends: (() => void)[] = [];
  let requests = 0;
  await using server = serve((_, url) => {
    requests++;
    if (url.pathname === "/retry") return refusal(503);
    if (url.pathname === "/silent") return new Promise((resolve) => ends.push(() => resolve(new Response())));
    return new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"half":'));
        },
      }),
    );
  });
  using it = connect({ server: server.url }, clock);
  const { client, responses } = it;
  assert.equal(await failure(client.request({ path: "/", signal: AbortSignal.abort(reason) })), reason);
  assert.equal(requests, 0);
  const cases: [path: string, ready: () => boolean][] = [
    ["/silent", () => requests === 1],
    ["/half", () => responses.at(-1)?.code === "200"],
    ["/retry", () => clock.nextTimerMs === 100],
  ];
  for (const [path, ready] of cases) {
    const abort = new AbortController();
    const failed = failure(
      client.request({ path, signal: abort.signal, body: new Uint8Array(20_000), method: "PUT" }),
    );
    await until(ready, path);
    abort.abort(reason);
    assert.equal(await failed, reason);
  }
  ends.forEach((end) => end());
  assert.equal(clock.timers, 0);
});

Deno.test("close ends requests, retries and streams; the client cannot be used any more", async () => {
  const clock = new FakeClock();
  const ends: (() => void)[] = [];
  await using server = serve((_, url) => {
    if (url.pathname === "/retry") return refusal(503);
    if (url.pathname === "/silent") return new Promise((resolve) => ends.push(() => resolve(new Response())));
    return new Response(
      new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array([1])) }),
    );
  });
  using it = connect({ server: server.url }, clock);
  const { client } = it;
  const stream = (await client.stream({ path: "/stream", signal: new AbortController().signal })).getReader();
  assert.deepEqual((await stream.read()).value, new Uint8Array([1]));
  const failed = [
    failure(client.request({ path: "/silent" })),
    failure(client.request({ path: "/retry" })),
    failure(stream.read()),
  ];
  await until(() => ends.length === 1 && clock.nextTimerMs === 100, "the requests");
  client.close();
  for (const error of [...await Promise.all(failed), await failure(client.request({ path: "/" }))]) {
    assert(error instanceof KubeConnectionError);
    assert.equal(error.message, "The client has been closed");
  }
  ends.forEach((end) => end());
});

// Streams

/** A server whose answer to `/stream` is what the test writes. */
function streamServer() {
  let writer: ReadableStreamDefaultController<Uint8Array> | undefined;
  const state = {
    cancelled: false,
    encoding: "",
    write: (text: string) => writer?.enqueue(new TextEncoder().encode(text)),
    close: () => writer?.close(),
  };
  const server = serve((request, url) => {
    if (url.pathname === "/gone") return refusal(410, "too old");
    state.encoding = request.headers.get("accept-encoding") ?? "";
    return new Response(
      new ReadableStream<Uint8Array>({
        start: (controller) => {
          writer = controller;
          controller.enqueue(new TextEncoder().encode("first"));
        },
        cancel: () => {
          state.cancelled = true;
        },
      }),
    );
  });
  return { ...server, state };
}

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

Deno.test("stream passes on what arrives, uncompressed, until the server ends it", async () => {
  const clock = new FakeClock();
  await using server = streamServer();
  using it = connect({ server: server.url }, clock);
  const stream = (await it.client.stream({ path: "/stream", signal: new AbortController().signal }))
    .getReader();
  assert.equal(text((await stream.read()).value), "first");
  assert.equal(server.state.encoding, "identity");
  assert.equal(clock.timers, 0);
  server.state.write("second");
  assert.equal(text((await stream.read()).value), "second");
  server.state.close();
  assert.equal((await stream.read()).done, true);
  assert.deepEqual(it.responses.map(({ method, code, path }) => [method, code, path]), [[
    "GET",
    "200",
    "/stream",
  ]]);
});

Deno.test("stream throws what the API server refuses it with", async () => {
  await using server = streamServer();
  using it = connect({ server: server.url });
  const error = await failure(it.client.stream({ path: "/gone", signal: new AbortController().signal }));
  assert(error instanceof KubeStatusError);
  assert.deepEqual([error.status.code, error.message], [410, "too old"]);
});

for (const reading of [true, false]) {
  Deno.test(`stream ends with its signal, ${reading ? "while it is read" : "though nobody reads"}`, async () => {
    await using server = streamServer();
    using it = connect({ server: server.url });
    const abort = new AbortController();
    const stream = (await it.client.stream({ path: "/stream", signal: abort.signal })).getReader();
    await stream.read();
    const failed = reading ? failure(stream.read()) : undefined;
    abort.abort(reason);
    assert.equal(await (failed ?? failure(stream.read())), reason);
    await until(() => server.state.cancelled, "the server to notice");
  });
}

Deno.test("stream can be cancelled by its reader", async () => {
  await using server = streamServer();
  using it = connect({ server: server.url });
  const stream = (await it.client.stream({ path: "/stream", signal: new AbortController().signal }))
    .getReader();
  await stream.read();
  await stream.cancel();
  await until(() => server.state.cancelled, "the server to notice");
});

Deno.test("stream fails when the connection breaks", async () => {
  await using server = streamServer();
  using proxy = new TestProxy(server.port);
  using it = connect({ server: `http://127.0.0.1:${proxy.port}` });
  const stream = (await it.client.stream({ path: "/stream", signal: new AbortController().signal }))
    .getReader();
  await stream.read();
  proxy.breakAll();
  const error = await failure(stream.read());
  assert(error instanceof KubeConnectionError, String(error));
  assert.match(error.message, /^Cannot reach http:/);
});

Deno.test("stream gives up when its headers do not come in time, and is sent once", async () => {
  const clock = new FakeClock();
  const ends: (() => void)[] = [];
  await using server = serve(() => new Promise((resolve) => ends.push(() => resolve(new Response()))));
  using it = connect({ server: server.url }, clock);
  const failed = failure(
    it.client.stream({ path: "/", timeoutMs: 500, signal: new AbortController().signal }),
  );
  await until(() => ends.length === 1, "the request");
  await clock.advance(500);
  const error = await failed;
  assert(error instanceof KubeConnectionError);
  assert.equal(error.timedOut, true);
  assert.equal(clock.timers, 0);
  ends.forEach((end) => end());
  assert.equal(ends.length, 1);
});

Deno.test("a stream holds its connection when others replace it", async () => {
  await using server = streamServer();
  using proxy = new TestProxy(server.port);
  using it = connect({ server: `http://127.0.0.1:${proxy.port}` });
  const stream = (await it.client.stream({ path: "/stream", signal: new AbortController().signal }))
    .getReader();
  await stream.read();
  it.client.reconnect();
  await failure(it.client.request({ path: "/gone" }));
  server.state.write("second");
  assert.equal(text((await stream.read()).value), "second");
  await stream.cancel();
});

// TLS

Deno.test("TLS: HTTP/2, and HTTP/1.1 where there is no other; one header line for each group", async () => {
  for (const http1Only of [false, true]) {
    await using server = await serveTls(certificates.server, { http1Only });
    using it = connect({
      server: server.url,
      caCertificates: certificates.otherCa + certificates.ca,
      impersonate: [["Impersonate-Group", "a"], ["Impersonate-Group", "b"]],
    });
    const seen = await it.client.request<Seen>({ path: "/" });
    assert.equal(seen.version, http1Only ? "1.1" : "2.0");
    const groups = seen.headers.filter((_, index) =>
      seen.headers[index - 1]?.toLowerCase() === "impersonate-group"
    );
    assert.deepEqual(groups, ["a", "b"]);
  }
});

for (const [name, caCertificates] of [["another CA", certificates.otherCa], ["no CA", undefined]] as const) {
  Deno.test(`TLS: a server of ${name} is refused`, async () => {
    await using server = await serveTls(certificates.server);
    using it = connect({ server: server.url, ...(caCertificates === undefined ? {} : { caCertificates }) });
    const error = await failure(it.client.request({ path: "/", attempts: 1 }));
    assert(error instanceof KubeConnectionError);
    assert.equal(error.message, `Cannot reach ${server.url}: invalid peer certificate: UnknownIssuer`);
  });
}

Deno.test("TLS: client certificates; another one makes another connection", async () => {
  await using server = await serveTls(certificates.server, { clientCertificates: true });
  let credentials: Credentials = {};
  const config: ClusterConfig = {
    server: server.url,
    caCertificates: certificates.ca,
    clientCertificate: one,
    credentials: () => Promise.resolve(credentials),
  };
  using it = connect(config);
  const who = async (client: KubeClient) => (await client.request<Seen>({ path: "/" })).client;
  assert.equal(await who(it.client), "one");
  credentials = { clientCertificate: two };
  assert.equal(await who(it.client), "two");
  credentials = { clientCertificate: { ...one } };
  assert.equal(await who(it.client), "one");
  const { clientCertificate: _, ...without } = config;
  credentials = {};
  using other = connect(without);
  assert.match(
    (await failure(other.client.request({ path: "/", attempts: 1 }))).message,
    /CertificateRequired/,
  );
});

for (const name of ["fetch", "node:https"]) {
  Deno.test(`TLS: a server whose CA is replaced is reached as soon as that is known, over ${name}`, async () => {
    let current = certificates.otherCa;
    const asked: boolean[] = [];
    await using server = await serveTls(certificates.server);
    using it = connect({
      server: server.url,
      caCertificates: certificates.otherCa,
      caSource: ({ force }) => {
        asked.push(force);
        return Promise.resolve(current);
      },
      ...(name === "fetch" ? {} : { tlsServerName: "localhost" }),
    });
    const ask = () => it.client.request<Seen>({ path: "/", attempts: 1 });
    assert((await failure(ask())) instanceof KubeConnectionError);
    assert((await failure(ask())) instanceof KubeConnectionError);
    const told = () => it.lines.filter((line) => line.includes("is not trusted")).length;
    assert.equal(told(), 1);
    current = certificates.ca;
    await ask();
    await ask();
    assert.deepEqual(asked, [false, true, true, false]);
    // What was trusted before is not trusted any more, also while the server can be reached.
    current = certificates.otherCa;
    assert((await failure(ask())) instanceof KubeConnectionError);
    assert.equal(told(), 2);
  });
}

// Proxies

Deno.test("proxy-url: CONNECT, with a password, and SOCKS5", async () => {
  await using server = await serveTls(certificates.server);
  const config = { server: server.url, caCertificates: certificates.ca };
  using proxy = new TestProxy(server.port, "connect");
  using plain = connect({ ...config, proxyUrl: `http://127.0.0.1:${proxy.port}` });
  assert.equal((await plain.client.request<Seen>({ path: "/" })).version, "2.0");
  using authorized = connect({ ...config, proxyUrl: `http://us%20er:pa%3Ass@127.0.0.1:${proxy.port}` });
  await authorized.client.request({ path: "/" });
  const line = `CONNECT 127.0.0.1:${server.port} HTTP/1.1`;
  assert.deepEqual(proxy.connects, [line, `${line} Basic ${btoa("us er:pa:ss")}`]);

  using socks = new TestProxy(server.port, "socks5");
  using throughSocks = connect({ ...config, proxyUrl: `socks5://127.0.0.1:${socks.port}` });
  await throughSocks.client.request({ path: "/" });
  assert.deepEqual(socks.connects, ["SOCKS5 command 1"]);
});

// node:https

Deno.test("tls-server-name: the certificate must be for that name", async () => {
  await using server = await serveTls(certificates.namedServer);
  const config = { server: server.url, caCertificates: certificates.ca };
  using right = connect({ ...config, tlsServerName: "api.test" });
  assert.equal((await right.client.request<Seen>({ path: "/" })).version, "1.1");
  using wrong = connect({ ...config, tlsServerName: "other.test" });
  assert.match(
    (await failure(wrong.client.request({ path: "/", attempts: 1 }))).message,
    /other\.test.*not in the cert/,
  );
  using otherCa = connect({ ...config, tlsServerName: "api.test", caCertificates: certificates.otherCa });
  assert.match(
    (await failure(otherCa.client.request({ path: "/", attempts: 1 }))).message,
    /unable to verify/,
  );
  using unnamed = connect(config);
  assert.match(
    (await failure(unnamed.client.request({ path: "/", attempts: 1 }))).message,
    /not valid for name/,
  );
});

Deno.test("insecure-skip-tls-verify: any certificate will do; client certificates are sent", async () => {
  await using server = await serveTls(certificates.namedServer, { clientCertificates: true });
  using it = connect({
    server: server.url,
    insecureSkipTlsVerify: true,
    clientCertificate: one,
    credentials: () => Promise.resolve({ authorization: "Bearer t" }),
    impersonate: [["Impersonate-Group", "a"], ["Impersonate-Group", "b"]],
  });
  const seen = await it.client.request<Seen>({ path: "/" });
  assert.equal(seen.client, "one");
  const values = (name: string) => seen.headers.filter((_, i) => seen.headers[i - 1]?.toLowerCase() === name);
  assert.deepEqual(values("impersonate-group"), ["a", "b"]);
  assert.deepEqual(values("authorization"), ["Bearer t"]);
  assert.deepEqual(values("accept-encoding"), ["identity"]);
});

Deno.test("node:https: bodies, refusals, streams, deadlines and signals are those of fetch", async () => {
  const clock = new FakeClock();
  let silent = 0;
  let closed = 0;
  await using server = await serveTls(certificates.server, { http1Only: true }, (request, response) => {
    if (request.url === "/echo") {
      let length = 0;
      request.on("data", (chunk) => length += chunk.length);
      request.on("end", () => response.end(JSON.stringify({ length })));
    } else if (request.url === "/refused") {
      response.statusCode = 403;
      response.end(JSON.stringify({ kind: "Status", message: "forbidden", reason: "Forbidden" }));
    } else if (request.url === "/stream") {
      response.on("close", () => closed++);
      response.write("first");
    } else {
      response.on("close", () => closed++);
      silent++;
    }
  });
  using it = connect({ server: server.url, insecureSkipTlsVerify: true }, clock);
  const { client } = it;
  assert.deepEqual(await client.request({ method: "PUT", path: "/echo", body: new Uint8Array(100_000) }), {
    length: 100_000,
  });
  assert.equal((await failure(client.request({ path: "/refused" }))).message, "forbidden");

  const timedOut = failure(client.request({ path: "/silent", attempts: 1, timeoutMs: 1000 }));
  await until(() => silent === 1, "the request");
  await clock.advance(1000);
  assert.match((await timedOut).message, /did not answer within 1000 ms/);
  await until(() => closed === 1, "the server to notice");
  const abort = new AbortController();
  const aborted = failure(client.request({ path: "/silent", signal: abort.signal }));
  await until(() => silent === 2, "the request");
  abort.abort(reason);
  assert.equal(await aborted, reason);
  await until(() => closed === 2, "the server to notice");

  const ending = new AbortController();
  const stream = (await client.stream({ path: "/stream", signal: ending.signal })).getReader();
  assert.equal(text((await stream.read()).value), "first");
  const ended = failure(stream.read());
  ending.abort(reason);
  assert.equal(await ended, reason);
  await until(() => closed === 3, "the server to notice");
});
