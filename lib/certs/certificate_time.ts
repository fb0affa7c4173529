import { CertificateError, required } from "./certificate_error.ts";
import { type DerReader, Tag } from "./der.ts";

/**
 * Reads a `Time` of a certificate's validity (RFC 5280, section 4.1.2.5) as milliseconds since the Unix epoch. More is allowed
 * than by the RFC, as Go does: UTCTime without seconds, and offsets such as `+0200`.
 *
 * @throws {CertificateError} if it is neither UTCTime nor GeneralizedTime, or malformed.
 */
export function readTime(reader: DerReader): number {
  if (reader.nextIs(Tag.utcTime)) {
    const time = utcTime(reader.read(Tag.utcTime)?.rest);
    return required(time, "x509: malformed UTCTime");
  }
  if (reader.nextIs(Tag.generalizedTime)) {
    const time = generalizedTime(reader.read(Tag.generalizedTime)?.rest);
    return required(time, "x509: malformed GeneralizedTime");
  }
  throw new CertificateError("x509: unsupported time format");
}

function utcTime(text: Uint8Array | undefined): number | undefined {
  const match = /^(\d\d)(\d{8})(\d\d)?(Z|[+-]\d{4})$/.exec(ascii(text));
  if (match === null) return undefined;
  const [, year, rest, seconds, zone] = match;
  const short = Number(year);
  return milliseconds(short < 50 ? 2000 + short : 1900 + short, `${rest}${seconds ?? "00"}`, zone);
}

function generalizedTime(text: Uint8Array | undefined): number | undefined {
  const match = /^(\d{4})(\d{10})(Z|[+-]\d{4})$/.exec(ascii(text));
  return match === null ? undefined : milliseconds(Number(match[1]), match[2] ?? "", match[3]);
}

/** @param rest month, day, hour, minute, second, two digits each. */
function milliseconds(year: number, rest: string, zone: string | undefined): number | undefined {
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = (rest.match(/\d\d/g) ?? []).map(Number);
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // unlike Date.UTC, it takes the years 0 to 99 as they are
  if (date.getUTCDate() !== day) return undefined;
  date.setUTCHours(hour, minute, second);
  const offset = zoneOffset(zone ?? "");
  return offset === undefined ? undefined : date.getTime() - offset;
}

/** Milliseconds east of Greenwich; undefined if out of range, or if `Z` should have been written. */
function zoneOffset(zone: string): number | undefined {
  if (zone === "Z") return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(3));
  if (hours > 24 || minutes > 59 || hours + minutes === 0) return undefined;
  return (zone.startsWith("-") ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

/** Empty if there are bytes beyond ASCII, or more than any time has. */
function ascii(bytes: Uint8Array | undefined): string {
  return bytes === undefined || bytes.length > 20 ? "" : String.fromCharCode(...bytes);
}
