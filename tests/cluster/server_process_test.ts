import assert from "node:assert/strict";
import { ServerProcess } from "./server_process.ts";

const never = () => Promise.resolve(false);

Deno.test("a server writes to its log and ends when it is told", async () => {
  const logFile = await Deno.makeTempFile();
  const server = start(logFile, "echo out; echo err >&2; exec sleep 600");
  await server.waitUntil("it has written", async () => (await server.logTail()) === "out\nerr", 10_000);

  await server.end();

  assert.throws(() => Deno.kill(server.pid, "SIGCONT"), Deno.errors.NotFound);
  await server.end();
  await Deno.remove(logFile);
});

Deno.test("a server that ignores SIGTERM is killed", async () => {
  const logFile = await Deno.makeTempFile();
  const server = start(logFile, "trap '' TERM; echo ready; while :; do sleep 0.01; done");
  await server.waitUntil("it is ready", async () => (await server.logTail()) === "ready", 10_000);

  await server.end("SIGTERM", 50);

  assert.throws(() => Deno.kill(server.pid, "SIGCONT"), Deno.errors.NotFound);
  await Deno.remove(logFile);
});

Deno.test("a server that ends or is slow is an error with the end of its log", async () => {
  const logFile = await Deno.makeTempFile();
  await using broken = start(logFile, "echo reason; exit 1");
  await assert.rejects(
    broken.waitUntil("it is ready", never),
    /test ended while waiting until it is ready\. Its log ends:\nreason$/,
  );
  await using slow = start(logFile, "exec sleep 600");
  await assert.rejects(slow.waitUntil("it is ready", never, 50), /test is too slow/);
  await Deno.remove(logFile);
});

Deno.test("a server does not outlive the process that started it, even if that is killed", async () => {
  const logFile = await Deno.makeTempFile();
  const starter = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { ServerProcess } from ${JSON.stringify(import.meta.resolve("./server_process.ts"))};
       const server = ServerProcess.start({
         name: "test", program: "sleep", args: ["600"], logFile: ${JSON.stringify(logFile)},
       });
       console.log(server.pid);
       await server.ended;`,
    ],
    stdout: "piped",
  }).spawn();
  const reader = starter.stdout.getReader();
  const pid = Number(new TextDecoder().decode((await reader.read()).value));
  assert.match(await Deno.readTextFile(`/proc/${pid}/cmdline`), /sleep/);

  starter.kill("SIGKILL");
  await starter.status;

  const deadline = performance.now() + 10_000;
  // A zombie, which is what is left where nobody collects orphans, has no command line.
  while (await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "") !== "") {
    assert.ok(performance.now() < deadline, `process ${pid} lives on`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await reader.cancel();
  await Deno.remove(logFile);
});

function start(logFile: string, script: string): ServerProcess {
  return ServerProcess.start({ name: "test", program: "sh", args: ["-c", script], logFile });
}
