import { signalChild } from "./signal_child.ts";

/** A server that tests start: its output goes to a file, and it does not outlive this process unless it is asked to. */
export class ServerProcess implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Resolves when the process has ended, by itself or by {@linkcode end}. */
  readonly ended: Promise<void>;
  readonly #child: Deno.ChildProcess;
  readonly #logFile: string;
  #running = true;

  private constructor(name: string, logFile: string, child: Deno.ChildProcess, guard: Guard | undefined) {
    this.name = name;
    this.pid = child.pid;
    this.#child = child;
    this.#logFile = logFile;
    this.ended = child.status.then(async () => {
      this.#running = false;
      await guard?.dismiss();
    });
  }

  /**
   * Starts `program`. Unless `outlive` is set, a guard kills it when this process dies in whatever way: it waits for the end
   * of a pipe that only this process holds open.
   *
   * @param options.logFile gets standard output and standard error, appended.
   */
  static start(options: {
    name: string;
    program: string;
    args: readonly string[];
    logFile: string;
    env?: Readonly<Record<string, string>>;
    outlive?: boolean;
  }): ServerProcess {
    const { name, logFile, outlive = false } = options;
    const script = outlive ? START : START_GUARDED;
    const child = new Deno.Command("sh", {
      args: ["-c", script, "sh", logFile, options.program, ...options.args],
      env: { ...options.env },
      stdin: outlive ? "null" : "piped",
      stdout: "null",
      stderr: "null",
      detached: outlive,
    }).spawn();
    if (outlive) child.unref();
    return new ServerProcess(name, logFile, child, outlive ? undefined : new Guard(child.stdin));
  }

  /**
   * Waits until `isReady` says so.
   *
   * @throws {Error} with the end of the log, if the process ends before that or `timeoutMs` have passed.
   */
  async waitUntil(what: string, isReady: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!await isReady()) {
      const fate = !this.#running ? "ended" : performance.now() > deadline ? "is too slow" : undefined;
      if (fate !== undefined) {
        throw new Error(
          `${this.name} ${fate} while waiting until ${what}. Its log ends:\n${await this.logTail()}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  /** The last lines of the log. */
  async logTail(lines = 20): Promise<string> {
    const text = await Deno.readTextFile(this.#logFile).catch(() => "(no log)");
    return text.trimEnd().split("\n").slice(-lines).join("\n");
  }

  /** Sends `signal`, and SIGKILL after `graceMs`, and returns when the process has ended. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM", graceMs = 10_000): Promise<void> {
    signalChild(this.#child, signal);
    const kill = setTimeout(() => signalChild(this.#child, "SIGKILL"), graceMs);
    await this.ended;
    clearTimeout(kill);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }
}

const START = `exec >>"$1" 2>&1; shift; exec "$@"`;

/** `$$` is the process id of the program too, because exec keeps it. A line dismisses the guard, the end of the pipe alarms it. */
const START_GUARDED = `exec 3<&0 </dev/null >>"$1" 2>&1; shift
(read -r line <&3 || kill -KILL $$) &
exec 3<&-; exec "$@"`;

/** Holds the pipe that a guard waits on. */
class Guard {
  readonly #pipe: WritableStream<Uint8Array<ArrayBuffer>>;

  constructor(pipe: WritableStream<Uint8Array<ArrayBuffer>>) {
    this.#pipe = pipe;
  }

  /** Lets the guard go, so that it never kills whoever gets the process id next. */
  async dismiss(): Promise<void> {
    const writer = this.#pipe.getWriter();
    try {
      await writer.write(new TextEncoder().encode("\n"));
      await writer.close();
    } catch {
      // The guard was killed with its program.
    }
  }
}
