import type { ClientCertificate } from "./config.ts";

/** What the tests of TLS need, made anew by `openssl` for each run. */
export interface TestCertificates {
  /** PEM of the CA that issued all the others. */
  readonly ca: string;
  /** PEM of another CA. */
  readonly otherCa: string;
  /** For 127.0.0.1 and localhost. */
  readonly server: ClientCertificate;
  /** For the name api.test only. */
  readonly namedServer: ClientCertificate;
  /** CN=one and CN=two. */
  readonly clients: readonly [ClientCertificate, ClientCertificate];
}

/** Makes them. */
export async function makeTestCertificates(): Promise<TestCertificates> {
  const directory = await Deno.makeTempDir();
  try {
    const make = async (name: string, extensions: string[], issuer?: string): Promise<ClientCertificate> => {
      const [key, certificate] = [`${directory}/${name}.key`, `${directory}/${name}.crt`];
      const args = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
      ];
      args.push("-subj", `/CN=${name}`, "-keyout", key, "-out", certificate);
      for (const extension of extensions) args.push("-addext", extension);
      if (issuer !== undefined) {
        args.push("-CA", `${directory}/${issuer}.crt`, "-CAkey", `${directory}/${issuer}.key`);
      }
      const { success, stderr } = await new Deno.Command("openssl", { args, stdout: "null" }).output();
      if (!success) throw new Error(`openssl failed: ${new TextDecoder().decode(stderr)}`);
      return { certificate: await Deno.readTextFile(certificate), key: await Deno.readTextFile(key) };
    };
    const leaf = "basicConstraints=critical,CA:false";
    const { certificate: ca } = await make("ca", []);
    return {
      ca,
      otherCa: (await make("other", [])).certificate,
      server: await make("server", [leaf, "subjectAltName=IP:127.0.0.1,DNS:localhost"], "ca"),
      namedServer: await make("named", [leaf, "subjectAltName=DNS:api.test"], "ca"),
      clients: [
        await make("one", [leaf, "extendedKeyUsage=clientAuth"], "ca"),
        await make("two", [leaf, "extendedKeyUsage=clientAuth"], "ca"),
      ],
    };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
