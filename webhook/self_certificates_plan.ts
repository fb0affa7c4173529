import type { Certificate } from "../lib/certs/certificate.ts";
import { pemOf } from "../lib/certs/pem_of.ts";
import { readPem } from "../lib/certs/pem.ts";
import { subjectOf } from "../lib/certs/subject.ts";
import { nodeCrypto } from "../lib/node_crypto.ts";
import { issueCertificate, readIssuerKeys } from "./issue_certificate.ts";
import { type KeyPair, KeyPairError, readKeyPair } from "./key_pair.ts";

/** Common names of our CAs begin so; a part of the key's hash tells them apart. */
export const CA_NAME = "trust-manager webhook CA";

/** How long things last, in milliseconds. */
export interface SelfTimes {
  readonly caLifetimeMs: number;
  readonly servingLifetimeMs: number;
  /** How long before its making a certificate is valid already, for clocks that go wrong. */
  readonly backdateMs: number;
  /** How long a CA is known to API servers before anything is served that only it vouches for. */
  readonly announceMs: number;
  /** How long a CA that is not used any more is still trusted, for replicas that are late. */
  readonly overlapMs: number;
}

const HOUR = 3_600_000;

/** What is good in clusters: a renewal about every two months, and long before anything expires. */
export const DEFAULT_TIMES: SelfTimes = {
  caLifetimeMs: 365 * 24 * HOUR,
  servingLifetimeMs: 90 * 24 * HOUR,
  backdateMs: HOUR,
  announceMs: 5 * 60_000,
  overlapMs: HOUR,
};

/** What of a Secret is usable. */
export interface StoredCertificates {
  /** CAs that are trusted, the one that issues first. Without the expired ones. */
  readonly cas: readonly Certificate[];
  /** The key of the first of them, PEM; undefined if there is none, or it does not fit. */
  readonly caKey: string | undefined;
  /** The pair that is served; undefined if there is none, it has expired, has other names, or no CA above issued it. */
  readonly serving: ServingPair | undefined;
}

/** A serving certificate, and who issued it. */
export interface ServingPair {
  readonly pair: KeyPair;
  /** Milliseconds since the Unix epoch. */
  readonly notBefore: number;
  readonly issuer: Certificate;
}

/** Values of a Secret, decoded. */
export type SecretValues = Readonly<Record<string, string>>;

/** What is to be done next to what is stored. */
export type Step = "new CA" | "new serving certificate" | "drop old CAs" | "keep";

/** Reads what {@linkcode carryOut} has written, or anything else. Never throws. */
export async function readStored(
  values: SecretValues,
  dnsNames: readonly string[],
  now: number,
): Promise<StoredCertificates> {
  const cas = trustedCas(values["ca.crt"] ?? "", now);
  const caKey = values["ca.key"] ?? "";
  return {
    cas,
    caKey: cas[0] !== undefined && await fits(cas[0], caKey) ? caKey : undefined,
    serving: readServing(values, cas, dnsNames, now),
  };
}

/** The CAs in PEM that have not expired; none if it cannot be read. */
export function trustedCas(pem: string, now: number): Certificate[] {
  const reading = readPem(new TextEncoder().encode(pem));
  return reading.ok ? reading.certificates.filter(({ isCa, notAfter }) => isCa && notAfter > now) : [];
}

/**
 * What is to be done next. Pure. A CA is renewed at two thirds of its life: it is announced first, then the serving certificate is
 * issued by it, and when no replica can still serve the former one, the former CA is dropped.
 *
 * @param now milliseconds since the Unix epoch.
 */
export function nextStep({ cas, caKey, serving }: StoredCertificates, times: SelfTimes, now: number): Step {
  const [ca] = cas;
  if (ca === undefined || caKey === undefined || isDue(ca, times, now)) return "new CA";
  if (serving === undefined) return "new serving certificate";
  const isAnnounced = madeAt(ca, times) + times.announceMs <= now;
  const isOfFormer = serving.issuer.sha256 !== ca.sha256;
  const { notBefore, pair: { notAfter } } = serving;
  if (isAnnounced && (isOfFormer || isDue({ notBefore, notAfter }, times, now))) {
    return "new serving certificate";
  }
  if (cas.length > 1 && !isOfFormer && madeAt(serving, times) + times.overlapMs <= now) return "drop old CAs";
  return "keep";
}

/** Milliseconds until {@linkcode nextStep} may say something else. */
export function nextStepInMs({ cas, serving }: StoredCertificates, times: SelfTimes, now: number): number {
  const [ca] = cas;
  if (ca === undefined || serving === undefined) return 0;
  const { notBefore, pair: { notAfter } } = serving;
  const moments = [
    dueAt(ca, times),
    dueAt({ notBefore, notAfter }, times),
    madeAt(ca, times) + times.announceMs,
    madeAt(serving, times) + times.overlapMs,
    ...cas.map((ca) => ca.notAfter),
  ];
  return Math.max(0, Math.min(...moments.filter((moment) => moment > now)) - now);
}

/**
 * Makes the values of the Secret after a step.
 *
 * @param known CAs that API servers trust already, and replicas may serve certificates of: they stay trusted until they are dropped.
 * @throws {TypeError} on the step "keep".
 */
export async function carryOut(
  step: Step,
  stored: StoredCertificates,
  known: readonly Certificate[],
  dnsNames: readonly string[],
  times: SelfTimes,
  now: number,
): Promise<SecretValues> {
  const { cas, caKey, serving } = stored;
  const [ca] = cas;
  if (step === "new CA") {
    const made = await newCa(times, now);
    const former = [...new Map([...cas, ...known].map((ca) => [ca.sha256, ca])).values()];
    const pair = serving?.pair ?? await newServing(made, dnsNames, times, now);
    return values([made.certificate, ...former], made.key, pair);
  }
  if (ca === undefined || caKey === undefined) throw new TypeError("There is no CA");
  if (step === "new serving certificate") {
    return values(cas, caKey, await newServing({ certificate: ca, key: caKey }, dnsNames, times, now));
  }
  if (step === "drop old CAs" && serving !== undefined) return values([ca], caKey, serving.pair);
  throw new TypeError("There is nothing to do");
}

interface CaWithKey {
  readonly certificate: Certificate;
  /** PEM. */
  readonly key: string;
}

async function newCa(times: SelfTimes, now: number): Promise<CaWithKey> {
  const commonName = `${CA_NAME} ${crypto.getRandomValues(new Uint8Array(4)).toHex()}`;
  const { certificatePem, privateKeyPem } = await issueCertificate({
    commonName,
    notBefore: now - times.backdateMs,
    notAfter: now + times.caLifetimeMs,
    use: { type: "ca" },
  });
  const [certificate] = trustedCas(certificatePem, now);
  if (certificate === undefined) throw new TypeError("The new CA cannot be read");
  return { certificate, key: privateKeyPem };
}

async function newServing(
  ca: CaWithKey,
  dnsNames: readonly string[],
  times: SelfTimes,
  now: number,
): Promise<Pick<KeyPair, "certificate" | "privateKey">> {
  const { certificatePem, privateKeyPem } = await issueCertificate({
    commonName: "trust-manager webhook",
    notBefore: now - times.backdateMs,
    notAfter: Math.min(now + times.servingLifetimeMs, ca.certificate.notAfter),
    use: { type: "server", dnsNames },
  }, { commonName: commonNameOf(ca.certificate), keys: await readIssuerKeys(ca.key) });
  return { certificate: certificatePem, privateKey: privateKeyPem };
}

function values(
  cas: readonly Certificate[],
  caKey: string,
  { certificate, privateKey }: Pick<KeyPair, "certificate" | "privateKey">,
): SecretValues {
  return { "ca.crt": `${pemOf(cas)}\n`, "ca.key": caKey, "tls.crt": certificate, "tls.key": privateKey };
}

function readServing(
  values: SecretValues,
  cas: readonly Certificate[],
  dnsNames: readonly string[],
  now: number,
): ServingPair | undefined {
  let pair: KeyPair;
  try {
    pair = readKeyPair(values["tls.crt"] ?? "", values["tls.key"] ?? "");
  } catch (error) {
    if (error instanceof KeyPairError) return undefined;
    throw error;
  }
  const reading = readPem(new TextEncoder().encode(pair.certificate));
  const leaf = reading.ok ? reading.certificates[0] : undefined;
  if (leaf === undefined || leaf.notAfter <= now) return undefined;
  const { X509Certificate } = nodeCrypto();
  const parsed = new X509Certificate(leaf.der);
  if (!dnsNames.every((name) => parsed.checkHost(name) !== undefined)) return undefined;
  const issuer = cas.find((ca) => {
    const issuer = new X509Certificate(ca.der);
    return parsed.checkIssued(issuer) && parsed.verify(issuer.publicKey);
  });
  return issuer === undefined ? undefined : { pair, notBefore: leaf.notBefore, issuer };
}

/** Whether `key` is the CA's, and both are as we make them. */
async function fits(ca: Certificate, key: string): Promise<boolean> {
  if (!commonNameOf(ca).startsWith(CA_NAME)) return false;
  try {
    readKeyPair(pemOf([ca]), key);
    await readIssuerKeys(key);
    return true;
  } catch {
    return false;
  }
}

/** Our CAs have no other attribute in their name. */
function commonNameOf(ca: Certificate): string {
  return subjectOf(ca).replace(/^CN=/, "");
}

type Validity = Pick<Certificate, "notBefore" | "notAfter">;

function madeAt({ notBefore }: Pick<Validity, "notBefore">, times: SelfTimes): number {
  return notBefore + times.backdateMs;
}

/** At two thirds of its life. */
function dueAt(validity: Validity, times: SelfTimes): number {
  const made = madeAt(validity, times);
  return made + (validity.notAfter - made) * 2 / 3;
}

function isDue(validity: Validity, times: SelfTimes, now: number): boolean {
  return dueAt(validity, times) <= now;
}
