/** Accepts connections and passes each on to one that `connect` opens, until the listener is closed. */
export async function forward(
  listener: Deno.Listener,
  connect: () => Promise<Deno.Conn>,
): Promise<void> {
  for await (const near of listener) {
    connect().then((far) => join(near, far)).catch(() => near.close());
  }
}

/** Copies both ways until both sides have ended. */
async function join(near: Deno.Conn, far: Deno.Conn): Promise<void> {
  // Not with streams, which close a connection both ways once they have read one to its end.
  const copy = async (from: Deno.Conn, to: Deno.Conn) => {
    const buffer = new Uint8Array(65_536);
    try {
      for (let length; (length = await from.read(buffer)) !== null;) {
        for (let at = 0; at < length;) at += await to.write(buffer.subarray(at, length));
      }
      await to.closeWrite();
    } catch {
      // One side broke off: so does the other.
      for (const side of [near, far]) close(side);
    }
  };
  await Promise.all([copy(near, far), copy(far, near)]);
  for (const side of [near, far]) close(side);
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** As a program: `forward.ts PORT SOCKET` leads a port of 127.0.0.1 to a socket, which may be one of another network namespace. */
if (import.meta.main) {
  const [port = "", socket = ""] = Deno.args;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: Number(port) });
  await forward(listener, () => Deno.connect({ transport: "unix", path: socket }));
}
