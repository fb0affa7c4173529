import { buildGoPrograms, cacheDirectory } from "../../cluster/go_programs.ts";

/** An answer of the Go project's webhook. */
export interface AdmissionAnswer {
  readonly status: number;
  readonly body: {
    readonly kind: string;
    readonly apiVersion: string;
    readonly response: {
      readonly uid: string;
      readonly allowed: boolean;
      readonly status?: { readonly code?: number; readonly reason?: string; readonly message?: string };
      readonly warnings?: readonly string[];
    };
  };
}

/**
 * What the Go project's webhook answers to AdmissionReviews, one answer each.
 *
 * @throws {GoToolchainError} {GoBuildError} if the program cannot be built.
 * @throws {Error} if it fails.
 */
export async function askAdmissionOracle(reviews: readonly unknown[]): Promise<AdmissionAnswer[]> {
  const process = new Deno.Command(await build(), { stdin: "piped", stdout: "piped", stderr: "inherit" })
    .spawn();
  const input = new Blob(reviews.map((review) => JSON.stringify(review) + "\n"));
  const [, text, status] = await Promise.all([
    input.stream().pipeTo(process.stdin),
    new Response(process.stdout).text(),
    process.status,
  ]);
  if (!status.success) throw new Error(`The admission oracle failed with exit code ${status.code}`);
  const answers: AdmissionAnswer[] = text.split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line)
  );
  if (answers.length !== reviews.length) {
    throw new Error(`The admission oracle gave ${answers.length} answers to ${reviews.length} reviews`);
  }
  return answers;
}

async function build(): Promise<string> {
  const folder = new URL(".", import.meta.url).pathname;
  const source = await crypto.subtle.digest("SHA-256", await Deno.readFile(`${folder}/main.go`));
  const directory = await buildGoPrograms({
    module: folder,
    cache: `${cacheDirectory()}/admission-oracle`,
    programs: { "admission-oracle": "." },
    // The flags are part of the cache's key: so is the source, by a variable that is not there.
    ldflags: `-s -w -X main.source=${new Uint8Array(source).toHex()}`,
    report: (line) => console.error(line),
  });
  return `${directory}/admission-oracle`;
}
