import { findGo, goVersionOf } from "./go_toolchain.ts";

/** What to build from one Go module that pins its dependencies in `go.mod` and `go.sum`. */
export interface GoBuild {
  /** Directory with `go.mod` and `go.sum`. */
  readonly module: string;
  /** Directory to keep the programs in, usually below {@linkcode cacheDirectory}. */
  readonly cache: string;
  /** Package path of each program by its name. */
  readonly programs: Readonly<Record<string, string>>;
  /** Flags of the Go linker. */
  readonly ldflags: string;
  /** Is given lines of progress; none when all is in the cache. */
  readonly report: (line: string) => void;
}

/** A program could not be built. The message holds the end of what Go said. */
export class GoBuildError extends Error {
  override readonly name = "GoBuildError";
}

/**
 * Builds the programs that are not in the cache yet and returns the directory that holds them all. Safe to call from
 * several processes at once: one builds, the others wait. A build that was interrupted goes on where it stopped.
 *
 * In the cache each state of the module has a directory of its own, named by a hash of all that decides what is built. (Not
 * of the release of the Go that builds: what is cached must be usable where there is no Go.)
 *
 * @throws {GoBuildError}
 * @throws {GoToolchainError} if there is no Go to build with.
 */
export async function buildGoPrograms(build: GoBuild): Promise<string> {
  const { goMod, key, directory } = await placeOf(build);
  if ((await missing(directory, build.programs)).length === 0) return directory;

  await Deno.mkdir(directory, { recursive: true });
  using lock = await Deno.open(`${build.cache}/${key}.lock`, { create: true, write: true });
  if (!await lock.tryLock(true)) {
    build.report(`Another process is building ${Object.keys(build.programs).join(", ")}: waiting for it`);
    await lock.lock(true);
  }
  const wanted = await missing(directory, build.programs);
  if (wanted.length === 0) return directory;

  const go = await findGo(goVersionOf(goMod), build.report);
  // Beside its final place, so that the rename is atomic.
  const workDirectory = await Deno.makeTempDir({ dir: build.cache, prefix: "building-" });
  try {
    for (const [index, [name, packagePath]] of wanted.entries()) {
      const what = `${name} (${index + 1} of ${wanted.length})`;
      const partial = `${workDirectory}/${name}`;
      await goBuild({ build, go, what, packagePath, output: partial });
      await Deno.rename(partial, `${directory}/${name}`);
    }
  } finally {
    await Deno.remove(workDirectory, { recursive: true });
  }
  return directory;
}

/** Whether {@linkcode buildGoPrograms} has nothing to build. */
export async function areBuilt(build: GoBuild): Promise<boolean> {
  return (await missing((await placeOf(build)).directory, build.programs)).length === 0;
}

async function placeOf(build: GoBuild): Promise<{ goMod: string; key: string; directory: string }> {
  const goMod = await Deno.readTextFile(`${build.module}/go.mod`);
  const goSum = await Deno.readTextFile(`${build.module}/go.sum`);
  const key = await digest([goMod, goSum, Deno.build.target, build.ldflags]);
  return { goMod, key, directory: `${build.cache}/${key}` };
}

/** `${XDG_CACHE_HOME:-~/.cache}/trust-manager-deno`. */
export function cacheDirectory(): string {
  const base = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? Deno.cwd()}/.cache`;
  return `${base}/trust-manager-deno`;
}

async function missing(directory: string, programs: GoBuild["programs"]): Promise<[string, string][]> {
  const absent: [string, string][] = [];
  for (const [name, packagePath] of Object.entries(programs)) {
    try {
      await Deno.stat(`${directory}/${name}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      absent.push([name, packagePath]);
    }
  }
  return absent;
}

async function goBuild(
  { build, go, what, packagePath, output }: {
    build: GoBuild;
    go: { command: string; env: Readonly<Record<string, string>> };
    what: string;
    packagePath: string;
    output: string;
  },
): Promise<void> {
  const startedAt = performance.now();
  build.report(`Building ${what}; the first time this takes minutes`);
  const args = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", `-ldflags=${build.ldflags}`];
  const process = new Deno.Command(go.command, {
    args: [...args, "-o", output, packagePath],
    cwd: build.module,
    env: { ...go.env, CGO_ENABLED: "0", GOWORK: "off" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const progress = setInterval(() => build.report(`Building ${what}: ${elapsed(startedAt)}`), 15_000);
  try {
    const [said, status] = await Promise.all([process.stderr.text(), process.status]);
    if (!status.success) {
      throw new GoBuildError(
        `Failed to build ${packagePath} with ${go.command}:\n${said.trim().slice(-4000)}`,
      );
    }
  } finally {
    clearInterval(progress);
  }
  build.report(`Built ${what} in ${elapsed(startedAt)}`);
}

function elapsed(since: number): string {
  const seconds = Math.round((performance.now() - since) / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

async function digest(parts: readonly string[]): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(parts.join("\0")));
  return new Uint8Array(hash).toHex().slice(0, 12);
}
