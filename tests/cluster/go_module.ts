import { findGo, goVersionOf } from "./go_toolchain.ts";

/**
 * Downloads a module that a `go.mod` pins and returns the directory of its files (read-only, in Go's module cache).
 *
 * @param pinnedIn directory of the `go.mod`.
 * @param path of the module, such as `github.com/cert-manager/trust-manager`.
 * @throws {GoToolchainError}
 * @throws {Error} if the module cannot be downloaded.
 */
export async function goModuleDirectory(pinnedIn: string, path: string): Promise<string> {
  const wanted = goVersionOf(await Deno.readTextFile(`${pinnedIn}/go.mod`));
  const go = await findGo(wanted, (line) => console.error(line));
  const { success, stdout, stderr } = await new Deno.Command(go.command, {
    args: ["mod", "download", "-json", path],
    cwd: pinnedIn,
    env: { ...go.env, GOWORK: "off" },
    stdin: "null",
  }).output();
  const directory: unknown = success ? JSON.parse(new TextDecoder().decode(stdout)).Dir : undefined;
  if (typeof directory !== "string") {
    throw new Error(`Failed to download ${path}: ${new TextDecoder().decode(stderr).trim()}`);
  }
  return directory;
}
