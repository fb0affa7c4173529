/** A step of the demo did not hold. The message is for the user. */
export class StepError extends Error {
  override readonly name = "StepError";
}

/** Where commands run: the checkout. */
const ROOT = new URL("..", import.meta.url);

/** Lines of a command's output that are shown. */
const SHOWN_LINES = 16;

/**
 * Where the demo plays: shows commands as a user would type them, runs them, shows what they print, and checks what was promised.
 * Plain text, so that it reads the same in a terminal and in a log.
 */
export class Stage {
  readonly #env: Readonly<Record<string, string>>;
  readonly #print: (line: string) => void;
  readonly #signal: AbortSignal | undefined;
  #held = 0;

  /**
   * @param env of the commands, beside this process' own.
   * @param signal ends the play: no command is begun any more, and nothing is waited for. One that runs is waited for.
   */
  constructor(
    env: Readonly<Record<string, string>>,
    print: (line: string) => void = console.log,
    signal?: AbortSignal,
  ) {
    this.#env = env;
    this.#print = print;
    this.#signal = signal;
  }

  /** How many checks have held. */
  get held(): number {
    return this.#held;
  }

  /** A new chapter, and what it is about. */
  chapter(title: string, ...about: string[]): void {
    this.#print(`\n== ${title}`);
    for (const line of about) this.#print(`   ${line}`);
  }

  /** A remark. */
  say(line: string): void {
    this.#print(`   ${line}`);
  }

  /**
   * Shows a shell command, runs it and shows what it prints, long output shortened.
   *
   * @returns its standard output.
   * @throws {StepError} if it fails.
   */
  async run(script: string): Promise<string> {
    const { success, out } = await this.#play(script);
    if (!success) throw new StepError(`This command failed: ${script.split("\n", 1)}`);
    return out;
  }

  /**
   * The same, with a command that must fail.
   *
   * @returns what it said on standard error.
   * @throws {StepError} if it does not fail.
   */
  async refused(script: string): Promise<string> {
    const { success, said } = await this.#play(script);
    if (success) throw new StepError(`This command did not fail: ${script.split("\n", 1)}`);
    return said;
  }

  async #play(script: string): Promise<{ success: boolean; out: string; said: string }> {
    this.#signal?.throwIfAborted();
    const [first = "", ...more] = script.split("\n");
    this.#print(`\n   $ ${first}`);
    for (const line of more) this.#print(`     ${line}`);
    const { success, stdout, stderr } = await new Deno.Command("sh", {
      args: ["-c", script],
      cwd: ROOT,
      env: { ...this.#env },
      stdin: "null",
    }).output();
    const [out = "", said = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    const lines = `${out}${said}`.trimEnd().split("\n").filter((line, _, all) =>
      all.length > 1 || line !== ""
    );
    for (const line of lines.slice(0, SHOWN_LINES)) this.#print(`   ${line}`);
    if (lines.length > SHOWN_LINES) this.#print(`   … ${lines.length - SHOWN_LINES} more lines`);
    return { success, out, said };
  }

  /**
   * Checks a promise that must hold by now.
   *
   * @throws {StepError} if it does not.
   */
  check(promise: string, holds: boolean): void {
    if (!holds) throw new StepError(`This does not hold: ${promise}`);
    this.#held++;
    this.#print(`   [ok] ${promise}`);
  }

  /**
   * Waits until a promise holds.
   *
   * @throws {StepError} if it does not within `timeoutMs`.
   */
  async waitFor(promise: string, holds: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
    await this.#until(promise, holds, timeoutMs);
    this.check(promise, true);
  }

  /**
   * Does something and measures how long its effect takes from the moment that the cluster shows the cause.
   *
   * @throws {StepError} if the effect does not come within `timeoutMs`.
   */
  async measure(
    promise: string,
    act: () => Promise<unknown>,
    cause: () => Promise<boolean>,
    effect: () => Promise<boolean>,
    timeoutMs = 30_000,
  ): Promise<void> {
    const watch = async () => {
      await this.#until(promise, cause, timeoutMs);
      const start = performance.now();
      await this.#until(promise, effect, timeoutMs);
      return Math.max(1, Math.round(performance.now() - start));
    };
    const acting = act();
    try {
      const [, ms] = await Promise.all([acting, watch()]);
      this.check(`${promise}, within ${ms} ms`, true);
    } finally {
      await Promise.allSettled([acting]);
    }
  }

  async #until(promise: string, holds: () => Promise<boolean>, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!await holds()) {
      this.#signal?.throwIfAborted();
      if (performance.now() > deadline) {
        throw new StepError(`Waited ${timeoutMs / 1000} s in vain: ${promise}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
