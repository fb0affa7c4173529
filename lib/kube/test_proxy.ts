/** A TCP proxy on 127.0.0.1 whose connections can be made silent without being closed. */
export class TestProxy implements Disposable {
  readonly port: number;
  readonly #listener: Deno.TcpListener;
  readonly #sockets = new Set<Deno.TcpConn>();
  #frozen: { readonly thawed: Promise<void>; readonly thaw: () => void } | undefined;
  /** How many connections were made to it. */
  connections = 0;
  /** The first line, and `Proxy-Authorization`, of each `CONNECT` request. */
  readonly connects: string[] = [];

  /**
   * @param target the port on 127.0.0.1 that all connections go to.
   * @param kind `connect` and `socks5` expect the words of such a proxy first, and then also go to `target`.
   */
  constructor(target: number, kind: "plain" | "connect" | "socks5" = "plain") {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#accept(target, kind);
  }

  /** From now on the connections that are open carry nothing any more; new ones do. Returns what ends that. */
  freeze(): () => void {
    const { promise: thawed, resolve } = Promise.withResolvers<void>();
    const frozen = { thawed, thaw: resolve };
    this.#frozen = frozen;
    return resolve;
  }

  /** How many sockets are open, both sides counted. */
  get open(): number {
    return this.#sockets.size;
  }

  /** Breaks all connections, and takes no more. */
  [Symbol.dispose](): void {
    this.#frozen?.thaw();
    this.#listener.close();
    this.breakAll();
  }

  /** Breaks all connections. */
  breakAll(): void {
    for (const socket of [...this.#sockets]) this.#close(socket);
  }

  async #accept(target: number, kind: "plain" | "connect" | "socks5"): Promise<void> {
    try {
      for await (const client of this.#listener) {
        this.connections++;
        this.#sockets.add(client);
        this.#serve(client, target, kind).catch(() => this.#close(client));
      }
    } catch {
      // Closed.
    }
  }

  async #serve(client: Deno.TcpConn, target: number, kind: "plain" | "connect" | "socks5"): Promise<void> {
    if (kind === "connect") await this.#answerConnect(client);
    if (kind === "socks5") await this.#answerSocks(client);
    const server = await Deno.connect({ hostname: "127.0.0.1", port: target });
    this.#sockets.add(server);
    // What was frozen before this connection was made does not concern it.
    const earlier = this.#frozen;
    const copy = async (from: Deno.TcpConn, to: Deno.TcpConn) => {
      const buffer = new Uint8Array(65_536);
      try {
        for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
          if (this.#frozen !== earlier) await this.#frozen?.thawed;
          for (let sent = 0; sent < n;) sent += await to.write(buffer.subarray(sent, n));
        }
      } catch {
        // Closed by the other side, or by the test.
      }
      this.#close(from);
      this.#close(to);
    };
    copy(client, server);
    copy(server, client);
  }

  async #answerConnect(client: Deno.TcpConn): Promise<void> {
    let head = "";
    const buffer = new Uint8Array(4096);
    while (!head.includes("\r\n\r\n")) {
      const n = await client.read(buffer);
      if (n === null) throw new Error("closed");
      head += new TextDecoder().decode(buffer.subarray(0, n));
    }
    const authorization = /^proxy-authorization: (.*)$/im.exec(head)?.[1] ?? "";
    this.connects.push(`${head.split("\r\n")[0]} ${authorization}`.trim());
    await client.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n"));
  }

  /** RFC 1928 without authentication; messages are so short that each comes in one piece. */
  async #answerSocks(client: Deno.TcpConn): Promise<void> {
    const buffer = new Uint8Array(512);
    await client.read(buffer);
    await client.write(new Uint8Array([5, 0]));
    await client.read(buffer);
    this.connects.push(`SOCKS${buffer[0]} command ${buffer[1]}`);
    await client.write(new Uint8Array([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]));
  }

  #close(socket: Deno.TcpConn): void {
    if (this.#sockets.delete(socket)) socket.close();
  }
}
