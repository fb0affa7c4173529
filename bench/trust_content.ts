import { readPem } from "../lib/certs/pem.ts";
import { pemOf } from "../lib/certs/pem_of.ts";
import { poolOf } from "../lib/certs/pool.ts";
import { encodeKeyStore } from "../lib/formats/encode_key_store.ts";
import { targetHash } from "../lib/hash.ts";

/** What a Bundle asks for: PEM alone, or with both key stores. */
export type Content = "PEM" | "all formats";

/** Key of the PEM bundle in sources and targets. */
export const PEM_KEY = "ca.pem";

const FORMATS = { jks: { key: "ca.jks" }, pkcs12: { key: "ca.p12" } } as const;

/** `spec.target` of a Bundle, but for the selector. */
export function targetSpec(content: Content): Record<string, unknown> {
  return {
    configMap: { key: PEM_KEY },
    ...(content === "PEM" ? {} : { additionalFormats: FORMATS }),
  };
}

/** What a target holds. */
export interface TargetData {
  readonly hash: string;
  readonly data: Readonly<Record<string, string>>;
  /** Base64. */
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** The CA certificates of this machine, and what targets of the first so many of them must hold. */
export class TrustContent {
  readonly #blocks: readonly string[];

  private constructor(blocks: readonly string[]) {
    this.#blocks = blocks;
  }

  /** Reads the PEM blocks of a file. */
  static async read(path: string): Promise<TrustContent> {
    const text = await Deno.readTextFile(path);
    return new TrustContent(text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? []);
  }

  /** How many certificates there are. */
  get size(): number {
    return this.#blocks.length;
  }

  /** The first `count` certificates, as a source holds them. */
  pem(count: number): string {
    return this.#blocks.slice(0, count).join("");
  }

  /** What a target of the first `count` certificates must hold. */
  target(count: number, content: Content): TargetData {
    const reading = readPem(new TextEncoder().encode(this.pem(count)));
    if (!reading.ok) throw new Error(`The certificates of this machine cannot be read: ${reading.error}`);
    const { certificates } = poolOf([reading.certificates], {});
    const pem = pemOf(certificates);
    if (content === "PEM") {
      return { hash: targetHash(pem, undefined, undefined), data: { [PEM_KEY]: pem } };
    }
    const jks = encodeKeyStore(certificates, { format: "jks", password: "changeit" });
    const pkcs12 = encodeKeyStore(certificates, { format: "pkcs12", password: "" });
    return {
      hash: targetHash(pem, FORMATS, undefined),
      data: { [PEM_KEY]: pem },
      binaryData: { [FORMATS.jks.key]: jks.toBase64(), [FORMATS.pkcs12.key]: pkcs12.toBase64() },
    };
  }
}
