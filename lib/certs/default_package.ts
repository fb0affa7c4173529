import { sha256 } from "../sha256.ts";
import type { Certificate } from "./certificate.ts";
import { type PemOptions, readPem } from "./pem.ts";

/** The default CA certificates that `useDefaultCAs` stands for. */
export interface DefaultPackage {
  readonly name: string;
  readonly version: string;
  /** Tells packages apart in status: `<name>-<version>-<first 8 bytes of SHA-256 of the bundle text, hex>`, of up to 253 characters. */
  readonly id: string;
  readonly certificates: readonly Certificate[];
  /** What is odd about the package, one line each; it can be used all the same. */
  readonly warnings: readonly string[];
}

/** A default CA package that cannot be used. The message is one line for the user. */
export class DefaultPackageError extends Error {
  override readonly name = "DefaultPackageError";
}

/**
 * Checks the name of a package's file, which must end in `.json`.
 *
 * @throws {DefaultPackageError}
 */
export function checkDefaultPackagePath(path: string): void {
  if (!path.endsWith(".json")) {
    throw new DefaultPackageError(`Default package file must have a name that ends in .json: ${path}`);
  }
}

/**
 * Reads a default CA package, a JSON object with the strings `name`, `bundle` (PEM) and `version`; other fields are ignored.
 * Packages of all versions of the Go project can be read.
 *
 * @throws {DefaultPackageError} if it is no such object, name or version is empty, or the bundle has a bad PEM block.
 */
export function parseDefaultPackage(json: string, options: PemOptions = {}): DefaultPackage {
  const fields = parseObject(json);
  const bundle = new TextEncoder().encode(stringField(fields, "bundle"));
  const result = readPem(bundle, options);
  if (!result.ok) throw new DefaultPackageError(`Default package has a bad bundle: ${result.error}`);
  const name = stringField(fields, "name");
  const version = stringField(fields, "version");
  if (name === "") throw new DefaultPackageError("Default package has no name");
  if (version === "") throw new DefaultPackageError("Default package has no version");

  const warnings: string[] = [];
  if (result.certificates.length === 0) warnings.push("Default package holds no certificates");
  const { brokenBlocks, certificates: known } = result.skipped;
  if (brokenBlocks > 0) {
    warnings.push(`Default package has PEM blocks that are not complete, which are skipped: ${brokenBlocks}`);
  }
  for (const fingerprint of known) {
    warnings.push(
      `Default package has a certificate with a negative serial number, which is skipped: ${fingerprint}`,
    );
  }
  const id = packageId(name, version, sha256(bundle).slice(0, 16));
  if (!id.startsWith(`${name}-${version}-`)) {
    warnings.push(
      "Default package has so long a name and version that status.defaultCAVersion tells only their beginning",
    );
  }
  return {
    name,
    version,
    id,
    certificates: result.certificates,
    warnings,
  };
}

/** `status.defaultCAVersion` takes so many characters. */
const MAX_ID = 253;

/** Cut before the hash, which alone tells packages apart, if it would be too long for a status. */
function packageId(name: string, version: string, hash: string): string {
  const named = `${name}-${version}`.toWellFormed();
  const room = MAX_ID - 1 - hash.length;
  return `${named.length <= room ? named : named.slice(0, room).replace(/[\ud800-\udbff]$/, "")}-${hash}`;
}

function parseObject(json: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    // The parser's message quotes the text; if the wrong file was mounted, that may be a secret.
    const position = / at position \d+/.exec(error instanceof Error ? error.message : "")?.[0] ?? "";
    throw new DefaultPackageError(`Default package is not valid JSON${position}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DefaultPackageError("Default package is not a JSON object");
  }
  return { ...value };
}

/** Empty if the field is absent or null. */
function stringField(fields: Readonly<Record<string, unknown>>, name: string): string {
  const value = fields[name] ?? "";
  if (typeof value !== "string") {
    throw new DefaultPackageError(`Default package has a ${name} that is not a string`);
  }
  return value;
}
