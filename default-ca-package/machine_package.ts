import { type PackageFile, packageIdentity } from "./package_file.ts";

/** Where distributions keep the CA certificates that they trust. */
const BUNDLE_FILES = [
  "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch
  "/etc/pki/tls/certs/ca-bundle.crt", // Fedora, Red Hat
  "/etc/ssl/ca-bundle.pem", // openSUSE
  "/etc/ssl/cert.pem", // macOS, BSD
];

/**
 * Makes a default CA package from the CA certificates that this machine trusts. On Debian it is named and numbered from the release
 * and from the version of `ca-certificates`.
 *
 * @throws {Error} if this machine has no such certificates.
 */
export async function packageOfThisMachine(): Promise<PackageFile> {
  for (const file of BUNDLE_FILES) {
    const bundle = await readIfThere(file);
    if (bundle === undefined) continue;
    const release = await readIfThere("/etc/os-release") ?? "";
    return { ...packageIdentity(release, await caCertificatesVersion()), bundle };
  }
  throw new Error(
    `Found no CA certificates on this machine, at none of ${BUNDLE_FILES.join(", ")}. ` +
      "On Debian, install the package ca-certificates",
  );
}

/** Version of Debian's package `ca-certificates` on this machine; undefined if it is not installed, or this is not Debian. */
export async function caCertificatesVersion(): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command("dpkg-query", {
      args: ["--show", "--showformat=${Version}", "ca-certificates"],
      stdin: "null",
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout).trim() || undefined : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
