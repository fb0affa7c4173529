import assert from "node:assert/strict";
import { forward } from "./forward.ts";

/** Answers each connection with the same in capitals, once the other side has ended. */
async function shout(listener: Deno.Listener): Promise<void> {
  for await (const connection of listener) {
    const text = await readAll(connection);
    await writeAll(connection, text.toUpperCase());
    connection.close();
  }
}

async function readAll(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(1024);
  const decoder = new TextDecoder();
  let text = "";
  for (let length; (length = await connection.read(buffer)) !== null;) {
    text += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
  return text;
}

async function writeAll(connection: Deno.Conn, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

Deno.test("forward() passes bytes both ways, to the end of each side", async () => {
  const far = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const near = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const done = [
    shout(far),
    forward(near, () => Deno.connect({ hostname: "127.0.0.1", port: far.addr.port })),
  ];
  try {
    await Promise.all(["one", "", "x".repeat(300_000)].map(async (text) => {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port: near.addr.port });
      await writeAll(connection, text);
      await connection.closeWrite();
      assert.ok(await readAll(connection) === text.toUpperCase());
    }));
  } finally {
    far.close();
    near.close();
    await Promise.all(done);
  }
});

Deno.test("forward() closes what it cannot pass on, and goes on", async () => {
  const near = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const done = forward(near, () => Promise.reject(new Error("nobody is there")));
  try {
    for (let i = 0; i < 2; i++) {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port: near.addr.port });
      assert.equal(await connection.read(new Uint8Array(1)), null);
    }
  } finally {
    near.close();
    await done;
  }
});
