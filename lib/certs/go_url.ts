import { quoted } from "./certificate_error.ts";

/**
 * The host (with its port) of a URL as Go's `net/url` reads it, or why Go cannot read it, in Go's words. Differs from the web's
 * URL: nothing is normalised, relative references and opaque parts are fine, hosts may hold odd characters. (Of an address in
 * brackets Go tells in more detail what is wrong with it.)
 *
 * @param text ASCII.
 */
export function urlHost(text: string): { readonly host: string } | { readonly problem: string } {
  const [url, fragment] = cut(text, "#");
  const parsed = parse(url);
  if ("problem" in parsed) return { problem: `parse ${quoted(url)}: ${parsed.problem}` };
  const problem = escapeProblem(fragment);
  return problem === undefined ? parsed : { problem: `parse ${quoted(text)}: ${problem}` };
}

type Parsed = { readonly host: string } | { readonly problem: string };

function parse(url: string): Parsed {
  // deno-lint-ignore no-control-regex
  if (/[\0-\x1f\x7f]/.test(url)) return { problem: "net/url: invalid control character in URL" };
  if (url === "*") return { host: "" };
  if (url.startsWith(":")) return { problem: "missing protocol scheme" };
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url)?.[1]?.toLowerCase();
  let [rest] = cut(scheme === undefined ? url : url.slice(scheme.length + 1), "?");
  if (!rest.startsWith("/")) {
    if (scheme !== undefined) return { host: "" }; // opaque
    if (cut(rest, "/")[0].includes(":")) {
      return { problem: "first path segment in URL cannot contain colon" };
    }
  }
  let host = "";
  if (rest.startsWith("//") && (scheme !== undefined || !rest.startsWith("///"))) {
    const [authority] = cut(rest.slice(2), "/");
    rest = rest.slice(2 + authority.length);
    const at = authority.lastIndexOf("@");
    const parsed = parseHost(scheme ?? "", authority.slice(at + 1));
    if ("problem" in parsed) return parsed;
    if (at >= 0) {
      const user = authority.slice(0, at);
      if (!/^[-A-Za-z0-9._:~!$&'()*+,;=%@]*$/.test(user)) return { problem: "net/url: invalid userinfo" };
      const [name, password] = cut(user, ":");
      const problem = escapeProblem(name) ?? escapeProblem(password);
      if (problem !== undefined) return { problem };
    }
    host = parsed.host;
  }
  const problem = escapeProblem(rest);
  return problem === undefined ? { host } : { problem };
}

function parseHost(scheme: string, host: string): Parsed {
  const bracket = host.lastIndexOf("[");
  if (bracket > 0) return { problem: "invalid IP-literal" };
  if (bracket === 0) return parseIpLiteral(host);
  const colon = host.indexOf(":");
  if (colon >= 0) {
    // Several colons are let through except in the schemes where a host cannot have them.
    const strict = scheme === "http" || scheme === "https";
    const port = host.slice(strict ? colon : host.lastIndexOf(":"));
    if (!isOptionalPort(port)) return { problem: `invalid port ${quoted(port)} after host` };
  }
  return unescapeHost(host);
}

/** `[address]`, `[address%25zone]`, either with a port. */
function parseIpLiteral(host: string): Parsed {
  const close = host.lastIndexOf("]");
  if (close < 0) return { problem: "missing ']' in host" };
  const port = host.slice(close + 1);
  if (!isOptionalPort(port)) return { problem: `invalid port ${quoted(port)} after host` };
  const name = host.slice(1, close);
  const zoneAt = name.indexOf("%25");
  const address = unescapeHost(zoneAt < 0 ? name : name.slice(0, zoneAt));
  if ("problem" in address) return address;
  const zone = zoneAt < 0 ? { host: "" } : unescapeZone(name.slice(zoneAt));
  if ("problem" in zone) return zone;
  const literal = address.host + zone.host;
  if (isIpv4(literal)) return { problem: "invalid IP-literal" };
  if (!isIpv6(address.host) || zone.host === "%") {
    return { problem: `invalid host: ParseAddr(${quoted(literal)}): unable to parse IP` };
  }
  return { host: `[${literal}]${port}` };
}

/** In a host only bytes beyond ASCII may be escaped, and `%` itself. */
function unescapeHost(host: string): Parsed {
  return unescape(host, (escape) => escape >= "%80" || escape === "%25");
}

/** In a zone what a host may hold may also be escaped, and a space. */
function unescapeZone(zone: string): Parsed {
  return unescape(zone, (escape) => {
    const character = String.fromCharCode(parseInt(escape.slice(1), 16));
    return escape === "%25" || character === " " || HOST_CHARACTER.test(character);
  });
}

const HOST_CHARACTER = /^[A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"]$/;

function unescape(text: string, allowed: (escape: string) => boolean): Parsed {
  let result = "";
  for (const [piece] of text.matchAll(/[A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"]+|%.{0,2}|./gs)) {
    if (piece.startsWith("%")) {
      if (!/^%[0-9A-Fa-f]{2}$/.test(piece) || !allowed(piece.toLowerCase())) {
        return { problem: `invalid URL escape ${quoted(piece)}` };
      }
      result += String.fromCharCode(parseInt(piece.slice(1), 16));
    } else if (!HOST_CHARACTER.test(piece.charAt(0))) {
      return { problem: `invalid character ${quoted(piece)} in host name` };
    } else {
      result += piece;
    }
  }
  return { host: result };
}

/** The first `%` that two hexadecimal digits do not follow. */
function escapeProblem(text: string): string | undefined {
  const escape = /%(?![0-9A-Fa-f]{2}).{0,2}/s.exec(text)?.[0];
  return escape === undefined ? undefined : `invalid URL escape ${quoted(escape)}`;
}

function isOptionalPort(text: string): boolean {
  return /^(?::[0-9]*)?$/.test(text);
}

/** Whether `text` is an IPv4 or IPv6 address (no zone) as Go's `net.ParseIP` reads it. */
export function isIpAddress(text: string): boolean {
  return isIpv4(text) || isIpv6(text);
}

function isIpv4(text: string): boolean {
  if (text.length > "255.255.255.255".length) return false;
  const parts = text.split(".");
  return parts.length === 4 &&
    parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256);
}

function isIpv6(text: string): boolean {
  if (text.length > "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".length) return false;
  const halves = text.split("::");
  if (halves.length > 2) return false;
  const groups: string[][] = halves.map((half) => half === "" ? [] : half.split(":"));
  const last = groups.at(-1)?.at(-1);
  const embedded = last !== undefined && last.includes(".");
  if (embedded) {
    if (!isIpv4(last)) return false;
    groups.at(-1)?.splice(-1, 1, "0", "0");
  }
  if (!groups.flat().every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) return false;
  const count = groups.flat().length;
  return halves.length === 2 ? count < 8 : count === 8;
}

/** What is before and after the first `separator`; all and nothing if there is none. */
function cut(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}
