import type { ClientCertificate } from "./config.ts";

/** One connection, or pool of connections, to one server. */
export interface Transport {
  /**
   * Sends `request`; resolves when the headers of the answer are there. Redirects are not followed.
   *
   * @throws the reason of the signal if it aborts, else an error of the platform.
   */
  send(request: TransportRequest): Promise<Response>;
  /** Gives its resources back. To be called when no request uses it any more. */
  close(): void;
}

/** One request on its way. */
export interface TransportRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: [name: string, value: string][];
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Ends the request, and after that the body of its answer. */
  readonly signal: AbortSignal;
}

/** How a transport makes its connections. */
export interface TransportOptions {
  /** PEM. */
  readonly caCertificates?: string;
  readonly clientCertificate?: ClientCertificate;
  readonly proxyUrl?: string;
  readonly tlsServerName?: string;
  readonly insecureSkipTlsVerify?: boolean;
}
