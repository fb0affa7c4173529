/**
 * What reading a client configuration needs of the machine. Passed in, so that tests need neither files nor variables.
 * Reads the variables `KUBECONFIG`, `HOME`, `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`, those of `given_ca.ts`, and no
 * others.
 */
export interface Host {
  /** Value of an environment variable. */
  env(name: string): string | undefined;
  /** @throws {Deno.errors.NotFound} if there is no such file; other errors of Deno as they come. */
  readTextFile(path: string): Promise<string>;
  /** Whether this process has the permission to run `command`. */
  mayRun(command: string): boolean;
  /**
   * Runs `command` with the variables of this process and those of `env`, without standard input; standard error is that
   * of this process. An abort of `signal` kills it.
   *
   * @throws {Deno.errors.NotFound} if there is no such command.
   */
  run(command: HostCommand): Promise<{ readonly code: number; readonly stdout: string }>;
}

/** A command to run, without a shell. */
export interface HostCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** The machine this process runs on. */
export const systemHost: Host = {
  env: (name) => Deno.env.get(name),
  readTextFile: (path) => Deno.readTextFile(path),
  mayRun: (command) => Deno.permissions.querySync({ name: "run", command }).state === "granted",
  async run({ command, args, env, signal }) {
    const { code, stdout } = await new Deno.Command(command, {
      args: [...args],
      env: { ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
      signal,
    }).output();
    return { code, stdout: new TextDecoder().decode(stdout) };
  },
};

/** Why a file could not be read, as the end of a sentence. */
export function readFailure(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.NotCapable) {
    return "Deno was started without the permission to read it (--allow-read)";
  }
  if (error instanceof Deno.errors.PermissionDenied) return "its file permissions forbid it";
  return error instanceof Error ? error.message : String(error);
}
