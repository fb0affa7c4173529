import { buildGoPrograms, cacheDirectory } from "../cluster/go_programs.ts";

/** Version of approver-policy that go.mod pins. */
export const APPROVER_POLICY_VERSION = "v0.28.0";

/**
 * Builds approver-policy, into the cache.
 *
 * @param report is given lines of progress; by default they go to standard error.
 * @returns the path of the program.
 * @throws {GoToolchainError} {GoBuildError}
 */
export async function buildApproverPolicy(
  report: (line: string) => void = (line) => console.error(line),
): Promise<string> {
  const directory = await buildGoPrograms({
    module: import.meta.dirname ?? ".",
    cache: `${cacheDirectory()}/approver-policy`,
    programs: { "approver-policy": "github.com/cert-manager/approver-policy/cmd" },
    ldflags: "-s -w",
    report,
  });
  return `${directory}/approver-policy`;
}

if (import.meta.main) console.log(await buildApproverPolicy());
