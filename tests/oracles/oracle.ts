import { createHash } from "node:crypto";
import type { LabelSelectorSpec } from "../../lib/api/bundle.ts";

/** A question to Go. Bytes are sent as base64. */
export type OracleRequest =
  | { readonly pem: Uint8Array }
  | { readonly certificate: Uint8Array }
  | {
    readonly selector: {
      readonly selector?: LabelSelectorSpec;
      readonly labels: readonly Record<string, string>[];
    };
  }
  | { readonly quote: string }
  | {
    readonly keyStore: {
      readonly format: "jks" | "LegacyRC2" | "LegacyDES" | "Modern2023" | "Passwordless";
      readonly password: string;
      readonly certificates: readonly Uint8Array[];
      readonly random: Uint8Array;
    };
  }
  | {
    readonly log: {
      readonly format: "text" | "json";
      readonly level: number;
      readonly verbosity: number;
      readonly message: string;
      /** If set, the line tells an error. */
      readonly error?: string;
      /** Keys and values, one after the other: of the logger, and of the line. */
      readonly with: readonly (string | number | boolean)[];
      readonly fields: readonly (string | number | boolean)[];
    };
  };

/** Go's answer; which fields are there depends on the question. */
export interface OracleAnswer {
  readonly error?: string;
  readonly text: string;
  readonly matches?: readonly boolean[];
  readonly certificate?: {
    readonly sha256: string;
    readonly notBefore: number;
    readonly notAfter: number;
    readonly isCa: boolean;
    readonly subject: string;
  };
  /** Base64. */
  readonly bytes?: string;
}

/**
 * What Go, the Go project's packages and Kubernetes' packages answer, one answer a request.
 *
 * @throws if Go is not installed, the program does not build, or it fails.
 */
export async function askOracle(requests: readonly OracleRequest[]): Promise<OracleAnswer[]> {
  const program = await buildOracle();
  const process = new Deno.Command(program, { stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
  const input = new Blob(requests.map((request) => JSON.stringify(request, base64) + "\n"));
  const [, text, status] = await Promise.all([
    input.stream().pipeTo(process.stdin),
    new Response(process.stdout).text(),
    process.status,
  ]);
  if (!status.success) throw new Error(`Oracle failed with exit code ${status.code}`);
  const answers: OracleAnswer[] = text.split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line)
  );
  if (answers.length !== requests.length) {
    throw new Error(`Oracle gave ${answers.length} answers to ${requests.length} requests`);
  }
  return answers;
}

function base64(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? value.toBase64() : value;
}

/** Builds the Go program of this folder unless that was done before for the same sources. Returns its path. */
async function buildOracle(): Promise<string> {
  const folder = new URL(".", import.meta.url);
  const hash = createHash("sha256");
  for (const name of ["go.mod", "go.sum", "main.go", "keystore.go"]) {
    hash.update(await Deno.readFile(new URL(name, folder)));
  }
  const cache = `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/trust-manager-deno`;
  const program = `${cache}/oracles-${hash.digest("hex").slice(0, 16)}`;
  if (await Deno.stat(program).then(() => true, () => false)) return program;
  await Deno.mkdir(cache, { recursive: true });
  const unfinished = `${program}.${crypto.randomUUID()}`; // another test may be building too
  const { success } = await new Deno.Command("go", {
    args: ["build", "-trimpath", "-o", unfinished, "."],
    cwd: folder,
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error("Go could not build the oracles");
  await Deno.rename(unfinished, program);
  return program;
}
