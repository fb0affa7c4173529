/** A Go command that can build a certain module. */
export interface GoToolchain {
  /** Path or name of the `go` command. */
  readonly command: string;
  /** Environment that each call needs, such as `GOTOOLCHAIN`. */
  readonly env: Readonly<Record<string, string>>;
}

/** There is no Go that can build the module, and none could be installed. The message says what to do. */
export class GoToolchainError extends Error {
  override readonly name = "GoToolchainError";
}

/** Where distributions and the official archive put Go when it is not on `PATH`. */
const USUAL_PLACES = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go", "/opt/homebrew/bin/go"];

/**
 * Finds a Go of at least `wanted` (such as `1.26.0`). One that is too old fetches the wanted one itself, as a Go module; where
 * there is none at all, on Debian and its kin, as root, the distribution's package is installed for that.
 *
 * @param report is given lines of progress.
 * @throws {GoToolchainError}
 */
export async function findGo(wanted: string, report: (line: string) => void): Promise<GoToolchain> {
  let found = await firstGo();
  if (found === undefined && Deno.build.os === "linux" && Deno.uid() === 0 && await runs("apt-get")) {
    report(`Go is missing: installing the package golang-go`);
    await installGoPackage();
    found = await firstGo();
  }
  if (found === undefined) throw new GoToolchainError(`Found no Go. ${advice(wanted)}`);
  if (compareVersions(found.version, wanted) >= 0) return { command: found.command, env: {} };

  report(`Go ${found.version} is too old: fetching Go ${wanted}`);
  const fetched = await fetchToolchain(found.command, wanted);
  if (fetched === undefined) {
    throw new GoToolchainError(
      `Go ${found.version} is too old and Go ${wanted} could not be fetched. ${advice(wanted)}`,
    );
  }
  return fetched;
}

/**
 * The version of Go that a `go.mod` asks for.
 *
 * @throws {GoToolchainError} if it has no `go` line.
 */
export function goVersionOf(goMod: string): string {
  const version = /^go (\S+)$/m.exec(goMod)?.[1];
  if (version === undefined) throw new GoToolchainError(`Found no "go" line in go.mod`);
  return version;
}

/**
 * Compares two Go versions such as `1.26.0`, `1.9` or `1.27rc1` number by number; a missing number counts as 0 and a suffix
 * is ignored. Negative if `a` is older.
 */
export function compareVersions(a: string, b: string): number {
  const numbers = (version: string) => (version.match(/^\d+(\.\d+)*/)?.[0] ?? "0").split(".").map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function advice(wanted: string): string {
  return `Install Go ${wanted} or newer so that "go version" works, or point KUBEBUILDER_ASSETS at a directory with ` +
    `etcd, kube-apiserver, kube-controller-manager and kubectl.`;
}

async function firstGo(): Promise<{ command: string; version: string } | undefined> {
  for (const command of ["go", ...USUAL_PLACES]) {
    // Not "go version": in a directory with a go.mod that asks for more, an old Go would fetch a toolchain for it.
    const version = await output(command, ["env", "GOVERSION"], { GOTOOLCHAIN: "local" });
    if (version?.startsWith("go")) return { command, version: version.slice("go".length) };
  }
  return undefined;
}

/** A released Go is published as a module, which any Go that knows modules can download and verify. */
async function fetchToolchain(command: string, version: string): Promise<GoToolchain | undefined> {
  const env = { GOTOOLCHAIN: `go${version}` };
  if (await output(command, ["version"], env) === `go version go${version} ${goPlatform()}`) {
    return { command, env };
  }

  // Before 1.21 Go knew no GOTOOLCHAIN, and unpacks the module without the executable bits.
  const module = `golang.org/toolchain@v0.0.1-go${version}.${goPlatform().replace("/", "-")}`;
  const answer = await output(command, ["mod", "download", "-json", module], { GO111MODULE: "on" });
  if (answer === undefined) return undefined;
  const directory: unknown = JSON.parse(answer).Dir;
  if (typeof directory !== "string") return undefined;
  for (const folder of [`${directory}/bin`, `${directory}/pkg/tool/${goPlatform().replace("/", "_")}`]) {
    for await (const entry of Deno.readDir(folder)) await Deno.chmod(`${folder}/${entry.name}`, 0o755);
  }
  return { command: `${directory}/bin/go`, env: { GOTOOLCHAIN: "local", GOROOT: directory } };
}

/** `linux/amd64` and the like. */
function goPlatform(): string {
  return `${Deno.build.os}/${Deno.build.arch === "aarch64" ? "arm64" : "amd64"}`;
}

async function installGoPackage(): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await output("apt-get", ["update", "--quiet"], env);
  await output("apt-get", ["install", "--yes", "--quiet", "--no-install-recommends", "golang-go"], env);
}

async function runs(command: string): Promise<boolean> {
  return await output(command, ["--version"], {}) !== undefined;
}

/** Standard output of a command, trimmed; undefined if it is not there or failed. */
async function output(
  command: string,
  args: string[],
  env: Record<string, string>,
): Promise<string | undefined> {
  try {
    const result = await new Deno.Command(command, { args, env, stdin: "null", stderr: "null", cwd: "/" })
      .output();
    return result.success ? new TextDecoder().decode(result.stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
