import assert from "node:assert/strict";
import { FakeClock } from "../tests/fake_clock.ts";
import { until } from "../tests/until.ts";
import { systemClock } from "./clock.ts";
import {
  HTTP_LIMITS,
  type HttpLimits,
  type HttpServer,
  type Listener,
  type Route,
  serveHttp,
} from "./http_server.ts";
import { createLogger } from "./log.ts";

/** A server on a free port, whose time stands still until a test moves it. */
class Fixture implements AsyncDisposable {
  readonly server: HttpServer;
  readonly clock: FakeClock;
  readonly lines: string[];
  readonly #clients: Client[] = [];

  private constructor(server: HttpServer, clock: FakeClock, lines: string[]) {
    this.server = server;
    this.clock = clock;
    this.lines = lines;
  }

  static async start(
    options: { routes?: Record<string, Route>; limits?: Partial<HttpLimits>; listen?: typeof listen } = {},
  ): Promise<Fixture> {
    const clock = new FakeClock();
    const lines: string[] = [];
    const write = (line: string) => lines.push(line);
    const server = await serveHttp({
      what: "probes",
      port: 0,
      routes: new Map(Object.entries(options.routes ?? { "/ok": () => new Response("ok") })),
      limits: { ...HTTP_LIMITS, ...options.limits },
      clock,
      log: createLogger({ format: "json", level: 1, write, clock: systemClock }),
      listen: options.listen ?? listen,
    });
    return new Fixture(server, clock, lines);
  }

  async connect(hostname = "127.0.0.1"): Promise<Client> {
    const client = new Client(await Deno.connect({ hostname, port: this.server.port }));
    this.#clients.push(client);
    return client;
  }

  async get(path = "/ok", hostname = "127.0.0.1"): Promise<string> {
    return await (await this.connect(hostname)).sends(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.server.close();
  }
}

const listen = (address: Deno.TcpListenOptions): Listener => Deno.listen(address);

class Client {
  readonly #socket: Deno.TcpConn;
  #open = true;

  constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
  }

  async write(text: string): Promise<void> {
    await this.#socket.write(new TextEncoder().encode(text));
  }

  /** Sends, and returns all that comes back until the server ends the connection. */
  async sends(text: string): Promise<string> {
    await this.write(text);
    return await this.received();
  }

  async received(): Promise<string> {
    let all = "";
    const buffer = new Uint8Array(4096);
    try {
      for (let n = await this.#socket.read(buffer); n !== null; n = await this.#socket.read(buffer)) {
        all += new TextDecoder().decode(buffer.subarray(0, n));
      }
    } catch {
      // Put off.
    }
    this.close();
    return all;
  }

  close(): void {
    if (this.#open) this.#socket.close();
    this.#open = false;
  }
}

const requests: Record<string, { send: string; answer: RegExp }> = {
  "a GET": { send: "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n", answer: /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nok$/s },
  "a GET of HTTP/1.0": { send: "GET /ok HTTP/1.0\r\n\r\n", answer: /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nok$/s },
  "a GET with a query": { send: "GET /ok?a HTTP/1.1\r\nhost: x\r\n\r\n", answer: /^HTTP\/1\.1 200 / },
  "a GET in absolute form": {
    send: "GET http://x/ok HTTP/1.1\r\nhost: x\r\n\r\n",
    answer: /^HTTP\/1\.1 200 /,
  },
  "a HEAD": {
    send: "HEAD /ok HTTP/1.1\r\nhost: x\r\n\r\n",
    answer: /^HTTP\/1\.1 200 OK\r\n(?=.*content-length: 2\r\n).*\r\n\r\n$/s,
  },
  "another path": { send: "GET /x HTTP/1.1\r\nhost: x\r\n\r\n", answer: /^HTTP\/1\.1 404 .*Not found\n$/s },
  "another method, and a body": {
    send: `POST /ok HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n${"x".repeat(100_000)}`,
    answer: /^HTTP\/1\.1 405 .*allow: GET, HEAD\r\n/s,
  },
  "no HTTP": { send: "hello\r\n\r\n", answer: /^HTTP\/1\.1 400 / },
  "no path": { send: "GET http:// HTTP/1.1\r\n\r\n", answer: /^HTTP\/1\.1 400 / },
  "a long head": { send: `GET /ok HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, answer: /^HTTP\/1\.1 431 / },
  "a defect": {
    send: "GET /defect HTTP/1.1\r\nhost: x\r\n\r\n",
    answer: /^HTTP\/1\.1 500 .*Internal error\n$/s,
  },
};

for (const [name, { send, answer }] of Object.entries(requests)) {
  Deno.test(`plain HTTP: ${name}`, async () => {
    const routes = {
      "/ok": () => new Response("ok"),
      "/defect": () => {
        throw new TypeError("defect");
      },
    };
    await using fixture = await Fixture.start({ routes });
    const client = await fixture.connect();
    const sending = client.sends(send);
    await until(() => fixture.server.connections === 1, "it is connected");
    assert.match(await sending, answer);
    await until(() => fixture.server.connections === 0, "the connection is forgotten");
  });
}

Deno.test("plain HTTP: a head in pieces", async () => {
  await using fixture = await Fixture.start();
  const client = await fixture.connect();
  for (const piece of ["GET /ok HT", "TP/1.1\r", "\nhost: x\r\n", "\r"]) await client.write(piece);
  assert.match(await client.sends("\n"), /^HTTP\/1\.1 200 /);
});

Deno.test("plain HTTP: IPv4 and IPv6", async () => {
  await using fixture = await Fixture.start();
  for (const address of ["127.0.0.1", "::1"]) {
    assert.match(await fixture.get("/ok", address), /^HTTP\/1\.1 200 /);
  }
});

Deno.test("plain HTTP: IPv4 where there is no IPv6", async () => {
  await using fixture = await Fixture.start({
    listen: (address) => {
      if (address.hostname === "::") {
        throw new Error("Address family not supported by protocol (os error 97)");
      }
      return listen(address);
    },
  });
  assert.match(await fixture.get(), /^HTTP\/1\.1 200 /);
});

Deno.test("plain HTTP: a port that is taken", async () => {
  await using fixture = await Fixture.start();
  const { port } = fixture.server;
  await assert.rejects(
    serveHttp({
      what: "metrics",
      port,
      routes: new Map(),
      clock: fixture.clock,
      log: createLogger({ format: "json", level: 1, write: () => {}, clock: systemClock }),
    }),
    { name: "ListenError", message: new RegExp(`^Cannot serve metrics on port ${port}: `) },
  );
});

for (const [name, send] of Object.entries({ "nothing": "", "half a head": "GET /ok HTTP/1.1\r\n" })) {
  Deno.test(`plain HTTP: who sends ${name} is put off in time`, async () => {
    await using fixture = await Fixture.start();
    const client = await fixture.connect();
    if (send !== "") await client.write(send);
    await until(() => fixture.clock.nextTimerMs === HTTP_LIMITS.headMs, "the head is awaited");
    const received = client.received();
    await fixture.clock.advance(HTTP_LIMITS.headMs);
    assert.equal(await received, "");
    await until(() => fixture.server.connections === 0, "the connection is forgotten");
  });
}

Deno.test("plain HTTP: who does not read the answer is put off in time", async () => {
  const large = "x".repeat(50_000_000);
  await using fixture = await Fixture.start({ routes: { "/ok": () => new Response(large) } });
  const client = await fixture.connect();
  await client.write("GET /ok HTTP/1.1\r\nhost: x\r\n\r\n");
  await until(() => fixture.clock.nextTimerMs === HTTP_LIMITS.sendMs, "the answer is being sent");
  await fixture.clock.advance(HTTP_LIMITS.sendMs);
  await until(() => fixture.server.connections === 0, "the connection is forgotten");
});

Deno.test("plain HTTP: however many send nothing, a request is answered", async () => {
  await using fixture = await Fixture.start({ limits: { connections: 20 } });
  for (let i = 0; i < 100; i++) await fixture.connect();
  await until(() => fixture.server.connections === 20, "the limit is reached");
  for (let i = 0; i < 20; i++) {
    assert.match(await fixture.get(), /^HTTP\/1\.1 200 /);
    assert.ok(fixture.server.connections <= 20);
    for (let i = 0; i < 5; i++) await fixture.connect();
  }
});

Deno.test("plain HTTP: what cannot be accepted ends nothing, and is told once a minute", async () => {
  let failures = 3;
  await using fixture = await Fixture.start({
    listen: (address) => {
      const listener = listen(address);
      return {
        addr: listener.addr,
        close: () => listener.close(),
        accept() {
          if (failures-- > 0) throw new Error("Too many open files (os error 24)");
          return listener.accept();
        },
      };
    },
  });
  for (let i = 0; i < 3; i++) {
    await until(() => fixture.clock.nextTimerMs === 100, "it pauses");
    await fixture.clock.advance(100);
  }
  assert.match(await fixture.get(), /^HTTP\/1\.1 200 /);
  assert.equal(fixture.lines.length, 1, fixture.lines.join("\n"));
  assert.match(fixture.lines[0] ?? "", /A client could not be accepted.*Too many open files/);
});

Deno.test("plain HTTP: close ends open connections", async () => {
  const fixture = await Fixture.start();
  const received = (await fixture.connect()).received();
  await until(() => fixture.server.connections === 1, "it is connected");
  await fixture.server.close();
  assert.equal(await received, "");
});
