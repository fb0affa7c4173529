import { buildGoPrograms, cacheDirectory } from "../cluster/go_programs.ts";

/** Version of the Go trust-manager that go.mod pins. */
export const PEER_VERSION = "v0.25.0";

/**
 * Builds the Go trust-manager, whose contract this project keeps, into the cache.
 *
 * @param report is given lines of progress; by default they go to standard error.
 * @returns the path of the program.
 * @throws {GoToolchainError} {GoBuildError}
 */
export async function buildPeer(
  report: (line: string) => void = (line) => console.error(line),
): Promise<string> {
  const directory = await buildGoPrograms({
    module: import.meta.dirname ?? ".",
    cache: `${cacheDirectory()}/peer`,
    programs: { "trust-manager": "github.com/cert-manager/trust-manager/cmd/trust-manager" },
    ldflags: "-s -w",
    report,
  });
  return `${directory}/trust-manager`;
}

if (import.meta.main) console.log(await buildPeer());
