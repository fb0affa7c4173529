import {
  type DefaultPackage,
  DefaultPackageError,
  parseDefaultPackage,
} from "../lib/certs/default_package.ts";

/** What a default CA package's file holds, as the operator's `--default-package-location` takes it. */
export interface PackageFile {
  readonly name: string;
  readonly version: string;
  /** PEM. */
  readonly bundle: string;
}

/**
 * Name and version of a package, numbered as the packages of the Go project are. Pure.
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

/**
 * The text of a package's file, and what the operator will read in it. The same content always gives the same text. Pure.
 *
 * @throws {DefaultPackageError} if the operator would refuse it, or it holds no certificates.
 */
export function encodePackage(
  { name, bundle, version }: PackageFile,
): { json: string; read: DefaultPackage } {
  const json = `${JSON.stringify({ name, bundle, version })}\n`;
  const read = parseDefaultPackage(json);
  if (read.certificates.length === 0) throw new DefaultPackageError("The bundle holds no certificates");
  return { json, read };
}
