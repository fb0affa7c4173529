/**
 * All strings on the heap of a JavaScript process, as a V8 heap snapshot shows them after a garbage collection. Of a string of more
 * than about 1,000 characters only the beginning is shown; the content of buffers is not.
 *
 * @param inspector base URL of its inspector, such as `http://127.0.0.1:9229`.
 */
export async function heapStrings(inspector: string): Promise<string> {
  const targets: { webSocketDebuggerUrl: string }[] = await (await fetch(`${inspector}/json/list`)).json();
  const url = targets[0]?.webSocketDebuggerUrl;
  if (url === undefined) throw new Error(`No process to inspect at ${inspector}`);
  const socket = new WebSocket(url);
  const closed = new Promise((resolve) => socket.addEventListener("close", resolve));
  const chunks: string[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener("error", () => reject(new Error(`Cannot inspect ${url}`)));
      socket.addEventListener("open", () => {
        socket.send(JSON.stringify({ id: 1, method: "HeapProfiler.enable" }));
        socket.send(
          JSON.stringify({
            id: 2,
            method: "HeapProfiler.takeHeapSnapshot",
            params: { reportProgress: false },
          }),
        );
      });
      socket.addEventListener("message", ({ data }) => {
        const message: {
          id?: number;
          method?: string;
          params?: { chunk?: string };
          error?: { message: string };
        } = JSON
          .parse(data);
        if (message.method === "HeapProfiler.addHeapSnapshotChunk") chunks.push(message.params?.chunk ?? "");
        if (message.error !== undefined) reject(new Error(message.error.message));
        if (message.id === 2) resolve();
      });
    });
  } finally {
    socket.close();
    await closed;
  }
  const snapshot: { strings: string[] } = JSON.parse(chunks.join(""));
  return snapshot.strings.join("\n");
}
