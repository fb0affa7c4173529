/** How to reach an API server and as whom. What kubeconfig files, in-cluster files and flags come to. */
export interface ClusterConfig {
  /** Base URL, such as `https://127.0.0.1:6443`, without a trailing slash; may have a path. */
  readonly server: string;
  /** PEM of the CA certificates to trust; the system's if absent. */
  readonly caCertificates?: string;
  /** Client certificate and key, PEM. */
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
  /**
   * Credentials, asked for before each request (a token file is re-read when it changes, an exec plugin runs again when its
   * credential has expired). `force` says that the last one was refused with 401.
   */
  readonly credentials?: (options: { force: boolean }) => Promise<Credentials>;
  /** HTTP or SOCKS5 proxy URL. */
  readonly proxyUrl?: string;
  /** Name to verify the server's certificate against, and SNI. Served over `node:https`. */
  readonly tlsServerName?: string;
  /** Skips the verification of the server's certificate. Served over `node:https`. */
  readonly insecureSkipTlsVerify?: boolean;
  /** `Impersonate-*` headers. */
  readonly impersonate?: Readonly<Record<string, string>>;
  /** The namespace of the context, or of the pod. */
  readonly namespace?: string;
}

/** What a request is authenticated with. */
export interface Credentials {
  /** Value of the `Authorization` header, such as `Bearer …`. Never logged. */
  readonly authorization?: string;
  /** Client certificate and key, PEM, as exec plugins return them. */
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
}

/** A configuration that cannot be used. The message is one line for the user; it never holds a secret. */
export class ClusterConfigError extends Error {
  override readonly name = "ClusterConfigError";
}
