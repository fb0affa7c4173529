import type { ClientCertificate } from "./config.ts";

/** Why Deno's TLS cannot use these, as the end of a sentence; undefined if it can. Opens nothing, quotes nothing of them. */
export function tlsProblem(
  { caCertificates, clientCertificate }: { caCertificates?: string; clientCertificate?: ClientCertificate },
): string | undefined {
  // Deno takes a text without certificates for an empty list of CAs; the server would then be unknown, nobody knows why.
  if (caCertificates?.includes("-----BEGIN CERTIFICATE-----") === false) return "it holds no PEM certificate";
  if (clientCertificate?.key.includes("ENCRYPTED")) return "the key is encrypted, which is not supported";
  try {
    Deno.createHttpClient({
      ...(caCertificates === undefined ? {} : { caCerts: [caCertificates] }),
      ...(clientCertificate === undefined
        ? {}
        : { cert: clientCertificate.certificate, key: clientCertificate.key }),
    }).close();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
