/** A default CA package, as the operator's `--default-package-location` takes it. */
export interface PackageFile {
  readonly name: string;
  readonly version: string;
  /** PEM. */
  readonly bundle: string;
}

/** Where distributions keep the CA certificates that they trust. */
const BUNDLE_FILES = [
  "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch
  "/etc/pki/tls/certs/ca-bundle.crt", // Fedora, Red Hat
  "/etc/ssl/ca-bundle.pem", // openSUSE
  "/etc/ssl/cert.pem", // macOS, BSD
];

/**
 * Makes a default CA package from the CA certificates that this machine trusts: on Debian it is named and numbered as the packages
 * of the Go project are, from the release and from the version of `ca-certificates`.
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

/**
 * Name and version of a package. Pure.
 *
 * @param osRelease text of `/etc/os-release`, or empty.
 * @param version of the package `ca-certificates`, if a package manager knows it.
 */
export function packageIdentity(
  osRelease: string,
  version: string | undefined,
): Pick<PackageFile, "name" | "version"> {
  const fields = new Map(
    [...osRelease.matchAll(/^(\w+)=["']?(.*?)["']?$/gm)].map(([, key = "", value = ""]) => [key, value]),
  );
  const id = fields.get("ID") || "local";
  const release = fields.get("VERSION_CODENAME") || fields.get("VERSION_ID");
  return {
    name: ["cert-manager", id, release].filter(Boolean).join("-"),
    version: `${version ?? "unversioned"}.0`,
  };
}

async function caCertificatesVersion(): Promise<string | undefined> {
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

/** Prints the package, for `--default-package-location`. */
if (import.meta.main) console.log(JSON.stringify(await packageOfThisMachine()));
