/**
 * Builds the operator into `dist/`: `trust-manager.js`, one script with all it needs, which tests and benchmarks start, and
 * (with the argument `compile`) `trust-manager`, one binary with the permissions compiled in, for this machine or for the
 * `--target` that `deno compile` knows, such as `aarch64-unknown-linux-gnu`. With `DENORT_SHA256`, there is a binary only if the
 * runtime that was compiled in (of `DENORT_BIN`, or the archive that was downloaded) has that checksum.
 */

/**
 * The permissions of the operator, and no more. Network and files stay open, because their values are flags of the user (the
 * API server, ports, the default package); the chart narrows them with a read-only root and a NetworkPolicy.
 */
export const PERMISSIONS: readonly string[] = [
  "--no-prompt",
  "--allow-net",
  "--allow-read",
  // The last three only to see whether the runtime trusts more CAs than it should (lib/kube/given_ca.ts).
  "--allow-env=KUBECONFIG,HOME,KUBERNETES_SERVICE_HOST,KUBERNETES_SERVICE_PORT,DENO_TLS_CA_STORE,DENO_CERT,NODE_EXTRA_CA_CERTS",
  // Libraries ask for debugging variables of their own; to them all others are not set.
  "--ignore-env",
  "--allow-sys=hostname",
];

/**
 * Flags of the runtime that halve what the operator adds to the memory of an empty Deno (measured: bench/README.md, "Memory"). What it
 * does is wait and send bytes; there is next to nothing that a compiler could make faster.
 */
export const RUNTIME_FLAGS: readonly string[] = [
  // No optimizing compilers: their own code takes 7 MB of pages, once a single function is hot. The garbage of the start is collected
  // 200 ms after its last collection, and not 30 s: 2.5 MB less.
  "--v8-flags=--max-optimized-bytecode-size=0,--optimize-for-size,--max-semi-space-size=1,--gc-memory-reducer-start-delay-ms=200",
  // In a container with a read-only file system it cannot be written; elsewhere it saves no time, and is mapped into memory.
  "--no-code-cache",
];

/** What Deno is started with wherever it runs {@linkcode SCRIPT}, as users have it: whoever tests or measures takes these. */
export const OPERATOR_FLAGS: readonly string[] = [
  "--no-config",
  "--no-lock",
  ...RUNTIME_FLAGS,
  ...PERMISSIONS,
];

/** Environment of the operator wherever it runs; the Dockerfile sets the same. */
export const OPERATOR_ENVIRONMENT: Readonly<Record<string, string>> = {
  // Larger blocks, such as bodies of requests, go back to the system when they are freed, rather than to glibc's heap: 2 to 3 MB less.
  MALLOC_MMAP_THRESHOLD_: "65536",
  // One heap for all threads, of which next to none allocates at the same time as another: 0.5 to 1 MB less.
  MALLOC_ARENA_MAX: "1",
  // None of the public CAs that Deno brings: an API server's certificate is that of the cluster's CA, and of nobody else.
  DENO_TLS_CA_STORE: "",
  // Nor those that a base image, or whoever changes pods as they are created, may have put there. (An empty DENO_CERT is an error.)
  NODE_EXTRA_CA_CERTS: "",
};

/** The operator as one script. */
export const SCRIPT = new URL("./dist/trust-manager.js", import.meta.url).pathname;

/**
 * The same script in ASCII. One character beyond Latin-1, if only in a comment, and V8 keeps the whole text with two bytes for each
 * character, which is 0.7 MB here. An escape means the same in strings, templates and regular expressions (ECMA-262, UnicodeEscapeSequence).
 */
export function inAscii(script: string): string {
  return script.replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Checks a file against its SHA-256.
 *
 * @param sha256 64 hex digits.
 * @throws {Error} if it is another, or there is no such file.
 */
export async function checkSha256(path: string, sha256: string): Promise<void> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  const actual = new Uint8Array(digest).toHex();
  if (actual !== sha256.toLowerCase()) {
    throw new Error(`${path} is not what was expected: its SHA-256 is ${actual} instead of ${sha256}`);
  }
}

/** The runtime that `deno compile` has put into a binary: a file of the user's, or the archive that Deno keeps of its download. */
async function compiledInRuntime(target: string): Promise<string> {
  const own = Deno.env.get("DENORT_BIN");
  if (own !== undefined) return own;
  const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"], stderr: "inherit" })
    .output();
  const { denoDir } = JSON.parse(new TextDecoder().decode(info.stdout));
  return `${denoDir}/dl/release/v${Deno.version.deno}/denort-${target}.zip`;
}

async function deno(...args: string[]): Promise<void> {
  const cwd = new URL(".", import.meta.url).pathname;
  const { code } = await new Deno.Command(Deno.execPath(), { args, cwd }).spawn().status;
  if (code !== 0) throw new Error(`Failed: deno ${args[0]} ended with exit code ${code}`);
}

if (import.meta.main) {
  // Whole or not at all: tests, or a demo, may be starting the one that is there.
  const unfinished = SCRIPT.replace(/\.js$/, `.${crypto.randomUUID()}.js`);
  await deno("bundle", "--quiet", "--platform=deno", `--output=${unfinished}`, "main.ts");
  await Deno.writeTextFile(unfinished, inAscii(await Deno.readTextFile(unfinished)));
  await Deno.rename(unfinished, SCRIPT);
  if (Deno.args.includes("compile")) {
    // Of the script rather than of the sources: the runtime fails to embed the packages that those import.
    // The script's date is compiled in; without it, the same sources give the same binary.
    const date = Number(Deno.env.get("SOURCE_DATE_EPOCH") ?? 0);
    await Deno.utime(SCRIPT, date, date);
    const target = Deno.args.filter((arg) => arg.startsWith("--target="));
    const output = SCRIPT.replace(/\.js$/, "");
    await deno("compile", ...target, ...OPERATOR_FLAGS, `--output=${output}`, SCRIPT);
    const sha256 = Deno.env.get("DENORT_SHA256");
    if (sha256) {
      const [wanted = Deno.build.target] = target.map((arg) => arg.replace("--target=", ""));
      try {
        await checkSha256(await compiledInRuntime(wanted), sha256);
      } catch (error) {
        await Deno.remove(output);
        throw error;
      }
    }
  }
}
