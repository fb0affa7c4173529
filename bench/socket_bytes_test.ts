import assert from "node:assert/strict";
import { countSocketBytes } from "./socket_bytes.ts";

Deno.test("the bytes of all connections of one process are added up", () => {
  const line = (pid: number, numbers: string) =>
    `ESTAB 0 0 127.0.0.1:40033 127.0.0.1:32802 users:(("deno",pid=${pid},fd=64)) bbr rto:212 ${numbers} segs_out:36`;
  const lines = [
    line(7, "bytes_sent:100 bytes_acked:100 bytes_received:20"),
    line(77, "bytes_sent:1000 bytes_received:1000"),
    line(7, "bytes_received:3"),
    "",
  ].join("\n");
  assert.deepEqual(countSocketBytes(lines, 7), { sent: 100, received: 23 });
  assert.deepEqual(countSocketBytes(lines, 8), { sent: 0, received: 0 });
});
