/** What went over connections, in bytes, TLS included. */
export interface SocketBytes {
  readonly sent: number;
  readonly received: number;
}

/**
 * Bytes that went over the TCP connections that a process has open, as the kernel counts them (`ss` of iproute2). Those of connections
 * that are closed by then are missing; API clients keep theirs open.
 *
 * @throws {Error} if `ss` cannot be run.
 */
export async function socketBytesOf(pid: number): Promise<SocketBytes> {
  const { success, stdout, stderr } = await new Deno.Command("ss", { args: ["-tinpHO"] }).output()
    .catch((error) => {
      throw new Error("ss could not be started; install iproute2", { cause: error });
    });
  if (!success) throw new Error(`ss failed: ${new TextDecoder().decode(stderr)}`);
  return countSocketBytes(new TextDecoder().decode(stdout), pid);
}

/** Adds up what `ss -tinpHO` says of the connections of a process, one in each line. Pure. */
export function countSocketBytes(lines: string, pid: number): SocketBytes {
  const sum = (name: string, line: string) => Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0);
  let sent = 0;
  let received = 0;
  for (const line of lines.split("\n")) {
    if (!line.includes(`,pid=${pid},`)) continue;
    sent += sum("bytes_sent", line);
    received += sum("bytes_received", line);
  }
  return { sent, received };
}
