import type { Host, HostCommand } from "./host.ts";

/** A machine of files, variables and commands that a test makes up. */
export class TestHost implements Host {
  /** Texts by path; an error is thrown when the file is read. Others do not exist. */
  readonly files: Record<string, string | Error>;
  readonly variables: Record<string, string>;
  /** Answers a command. */
  onRun: (
    command: HostCommand,
  ) => { code: number; stdout: string } | Promise<{ code: number; stdout: string }>;
  mayRunAll = true;
  /** The paths that were read. */
  readonly reads: string[] = [];
  readonly runs: HostCommand[] = [];

  constructor(files: Record<string, string | Error> = {}, variables: Record<string, string> = {}) {
    this.files = files;
    this.variables = variables;
    this.onRun = () => {
      throw new Deno.errors.NotFound("no such command");
    };
  }

  env(name: string): string | undefined {
    return this.variables[name];
  }

  readTextFile(path: string): Promise<string> {
    this.reads.push(path);
    const text = this.files[path];
    if (typeof text === "string") return Promise.resolve(text);
    return Promise.reject(text ?? new Deno.errors.NotFound(path));
  }

  mayRun(): boolean {
    return this.mayRunAll;
  }

  async run(command: HostCommand): Promise<{ code: number; stdout: string }> {
    this.runs.push(command);
    return await this.onRun(command);
  }
}
