import type { Source } from "./reread.ts";

/** How to reach an API server and as whom. What kubeconfig files, in-cluster files and flags come to. */
export interface ClusterConfig {
  /** Base URL, such as `https://127.0.0.1:6443`, without a trailing slash; may have a path. */
  readonly server: string;
  /**
   * PEM of the CA certificates to trust. Deno's `fetch` trusts those of its environment besides them, see
   * {@linkcode ClusterConfig.givenCaOnly}.
   */
  readonly caCertificates?: string;
  /**
   * Asked for before each request. Its answer comes before {@linkcode caCertificates}, and is the same string as long as
   * nothing has changed. Never rejects. `force` says that the server could not be reached since it was asked last.
   */
  readonly caSource?: Source<string>;
  /** Client certificate and key, PEM. */
  readonly clientCertificate?: ClientCertificate;
  /** Asked for before each request. Its client certificate comes before {@linkcode clientCertificate}. */
  readonly credentials?: CredentialSource;
  /** HTTP or SOCKS5 proxy URL. */
  readonly proxyUrl?: string;
  /** Name to verify the server's certificate against, and SNI. Served over `node:https`. */
  readonly tlsServerName?: string;
  /** Skips the verification of the server's certificate. Served over `node:https`. */
  readonly insecureSkipTlsVerify?: boolean;
  /** Trusts no CA but {@linkcode caCertificates}, even where the runtime's `fetch` has more. Served over `node:https`. */
  readonly givenCaOnly?: boolean;
  /** `Impersonate-*` headers as name and value; a name may come more than once (one header line for each group). */
  readonly impersonate?: readonly (readonly [name: string, value: string])[];
  /** The namespace of the context, or of the pod. */
  readonly namespace?: string;
  /** Deadline in milliseconds of an attempt whose request names none. */
  readonly requestTimeoutMs?: number;
}

/** What a request is authenticated with. */
export interface Credentials {
  /** Value of the `Authorization` header, such as `Bearer …`. Never logged. */
  readonly authorization?: string;
  /** Client certificate and key, as exec plugins return them or as they are read from files. */
  readonly clientCertificate?: ClientCertificate;
}

/** A certificate chain and its private key, both PEM. */
export interface ClientCertificate {
  readonly certificate: string;
  /** Never logged. */
  readonly key: string;
}

/**
 * Gives the credentials of the moment: a token file is read again from time to time, an exec plugin runs again when its
 * credential has expired. As long as nothing has changed it returns the same object. `force` says that the last one was
 * refused with 401.
 *
 * @throws {ClusterConfigError} if there are none.
 */
export type CredentialSource = Source<Credentials>;

/** A configuration that cannot be used. The message is one line for the user; it never holds a secret. */
export class ClusterConfigError extends Error {
  override readonly name = "ClusterConfigError";
}
