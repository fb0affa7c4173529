import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { ClusterConfigError, type Credentials, type CredentialSource } from "./config.ts";
import { type Host, readFailure } from "./host.ts";
import { reread } from "./reread.ts";
import { tlsProblem } from "./tls_problem.ts";

/** What sources that read files need. */
export interface FileSourceDeps {
  readonly host: Host;
  readonly clock: Clock;
  /** Is told when a file cannot be used any more. */
  readonly log?: Logger;
}

/** Value of the `Authorization` header for a bearer token; undefined if it has characters that a header cannot carry. */
export function asBearer(token: string): string | undefined {
  return /^[\x21-\x7e]+$/.test(token) ? `Bearer ${token}` : undefined;
}

/** Credentials that never change. */
export function fixedCredentials(credentials: Credentials): CredentialSource {
  return () => Promise.resolve(credentials);
}

/**
 * A bearer token in a file that is replaced from time to time: read again each minute, and when the token was refused.
 * When it cannot be read again, the last token stays in use.
 */
export function tokenFile(path: string, deps: FileSourceDeps): CredentialSource {
  return reread(deps, async () => {
    const authorization = asBearer((await readText(deps.host, path, "the token")).trim());
    if (authorization === undefined) {
      throw new ClusterConfigError(
        `${path} holds no token: it is empty, or has characters that an HTTP header cannot carry`,
      );
    }
    return { authorization };
  }, sameCredentials);
}

/** A client certificate and its key in files, with the rules of {@linkcode tokenFile}. */
export function clientCertificateFiles(
  read: { readonly certificate: () => Promise<string>; readonly key: () => Promise<string> },
  user: string,
  deps: Omit<FileSourceDeps, "host">,
): CredentialSource {
  return reread(deps, async () => {
    const clientCertificate = { certificate: await read.certificate(), key: await read.key() };
    // Between the replacement of the one file and of the other they do not fit: then the last pair stays in use.
    const problem = tlsProblem({ clientCertificate });
    if (problem !== undefined) {
      throw new ClusterConfigError(`The client certificate of user "${user}" cannot be used: ${problem}`);
    }
    return { clientCertificate };
  }, sameCredentials);
}

/** The authorization of one source and the client certificate of another. */
export function bothCredentials(first: CredentialSource, second: CredentialSource): CredentialSource {
  let last: { of: readonly Credentials[]; credentials: Credentials } | undefined;
  return async (options) => {
    const [a, b] = await Promise.all([first(options), second(options)]);
    if (last?.of[0] !== a || last.of[1] !== b) last = { of: [a, b], credentials: { ...b, ...a } };
    return last.credentials;
  };
}

/** @throws {ClusterConfigError} that names the file and what it was to hold. */
export async function readText(host: Host, path: string, what: string): Promise<string> {
  try {
    return await host.readTextFile(path);
  } catch (error) {
    throw new ClusterConfigError(`Cannot read ${what} from ${path}: ${readFailure(error)}`);
  }
}

function sameCredentials(a: Credentials, b: Credentials): boolean {
  return a.authorization === b.authorization &&
    a.clientCertificate?.certificate === b.clientCertificate?.certificate &&
    a.clientCertificate?.key === b.clientCertificate?.key;
}
