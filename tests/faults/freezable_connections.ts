/** What holds data back until it is opened. */
interface Gate {
  readonly opened: Promise<void>;
  readonly open: () => void;
}

/** One connection of a client, and the one that goes on to the server. */
interface Pair {
  readonly client: Deno.TcpConn;
  readonly server: Deno.TcpConn;
  frozen: Gate | undefined;
}

/**
 * A TCP proxy on 127.0.0.1 whose connections can be frozen one by one or all together, and broken. As in a network, what was sent while a
 * connection was frozen arrives when it is thawed, if its receiver is still there.
 */
export class FreezableConnections implements Disposable {
  readonly port: number;
  readonly #listener: Deno.TcpListener;
  /** By the local port of the connection to the server, which is how the server knows it. */
  readonly #pairs = new Map<number, Pair>();
  /** Clients that nothing has been done for yet. */
  readonly #waiting = new Set<Deno.TcpConn>();
  readonly #target: number;
  #allFrozen: Gate | undefined;
  #partitions = 0;

  /** @param target the port on 127.0.0.1 that all connections go to. */
  constructor(target: number) {
    this.#target = target;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    void this.#accept();
  }

  /** Freezes the connection that the server sees from `serverSidePort`, until {@linkcode thaw}. */
  freeze(serverSidePort: number): void {
    const pair = this.#pairs.get(serverSidePort);
    if (pair !== undefined) pair.frozen ??= gate();
  }

  /** Ends what {@linkcode freeze} did, everywhere. */
  thaw(): void {
    for (const pair of this.#pairs.values()) {
      pair.frozen?.open();
      pair.frozen = undefined;
    }
  }

  /** From now on no byte passes, not even of new connections, until the result is disposed of (and that of each other call). */
  partition(): Disposable {
    this.#partitions++;
    this.#allFrozen ??= gate();
    let over = false;
    return {
      [Symbol.dispose]: () => {
        if (over) return;
        over = true;
        if (--this.#partitions > 0) return;
        this.#allFrozen?.open();
        this.#allFrozen = undefined;
      },
    };
  }

  /** Breaks the connection that the server sees from `serverSidePort`, with all that is under way on it. */
  break(serverSidePort: number): void {
    const pair = this.#pairs.get(serverSidePort);
    if (pair !== undefined) this.#close(pair);
  }

  /** Breaks all connections. */
  breakAll(): void {
    for (const pair of [...this.#pairs.values()]) this.#close(pair);
    for (const client of this.#waiting) client.close();
    this.#waiting.clear();
  }

  /** Breaks all connections, and takes no more. */
  [Symbol.dispose](): void {
    this.#listener.close();
    this.breakAll();
    this.#allFrozen?.open();
  }

  async #accept(): Promise<void> {
    try {
      for await (const client of this.#listener) {
        this.#serve(client).catch(() => {
          if (this.#waiting.delete(client)) client.close();
        });
      }
    } catch {
      // Closed.
    }
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    this.#waiting.add(client);
    await this.#allFrozen?.opened;
    const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
    if (!this.#waiting.delete(client)) return server.close(); // broken meanwhile
    for (const side of [client, server]) side.setNoDelay();
    const pair: Pair = { client, server, frozen: undefined };
    this.#pairs.set(server.localAddr.port, pair);
    for (const [from, to] of [[client, server], [server, client]] as const) {
      void this.#copy(pair, from, to).catch(() => {}).finally(() => this.#close(pair));
    }
  }

  async #copy(pair: Pair, from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const buffer = new Uint8Array(65_536);
    const frozen = () => pair.frozen ?? this.#allFrozen;
    for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
      for (let held = frozen(); held !== undefined; held = frozen()) await held.opened;
      for (let sent = 0; sent < n;) sent += await to.write(buffer.subarray(sent, n));
    }
    // The end of one side is passed on in the same way.
    for (let held = frozen(); held !== undefined; held = frozen()) await held.opened;
  }

  #close(pair: Pair): void {
    if (!this.#pairs.delete(pair.server.localAddr.port)) return;
    pair.client.close();
    pair.server.close();
    pair.frozen?.open();
    pair.frozen = undefined;
  }
}

function gate(): Gate {
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  return { opened, open };
}
