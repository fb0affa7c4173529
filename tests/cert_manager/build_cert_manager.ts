import { buildGoPrograms, cacheDirectory } from "../cluster/go_programs.ts";

/** Version of cert-manager that go.mod pins. */
export const CERT_MANAGER_VERSION = "v1.21.2";

/**
 * Builds cert-manager's controllers, CA injector and webhook as one program, into the cache. What it is called with says which
 * of them it is.
 *
 * @param report is given lines of progress; by default they go to standard error.
 * @returns the path of the program.
 * @throws {GoToolchainError} {GoBuildError}
 */
export async function buildCertManager(
  report: (line: string) => void = (line) => console.error(line),
): Promise<string> {
  const stamp = "-X github.com/cert-manager/cert-manager/pkg/util.AppVersion";
  const directory = await buildGoPrograms({
    module: import.meta.dirname ?? ".",
    cache: `${cacheDirectory()}/cert-manager`,
    programs: { "cert-manager": "." },
    ldflags: `-s -w ${stamp}=${CERT_MANAGER_VERSION}`,
    report,
  });
  return `${directory}/cert-manager`;
}

if (import.meta.main) console.log(await buildCertManager());
