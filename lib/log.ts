import type { Clock } from "./clock.ts";
import { goQuote } from "./go_quote.ts";

/** Values that a log line can carry. Never a Secret's data, a token or a private key. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * Structured log. Messages are constant; what varies goes into fields, so that lines can be searched and counted.
 * Verbosity follows logr: 0 is always written, 5 is the chattiest.
 */
export interface Logger {
  /** Something an administrator may want to know. Written if the logger's level is at least `verbosity` (default 0). */
  info(message: string, fields?: LogFields, verbosity?: number): void;
  /** Something failed. Always written. Only the error's message is logged, no stack, unless the level is 5. */
  error(message: string, error: unknown, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger;
}

/** How a {@linkcode Logger} writes. */
export interface LogOptions {
  /** `text` is logfmt, `json` is one object a line; both as Go's `log/slog` has them, which the Go project writes with. */
  readonly format: "text" | "json";
  /** 1 to 5, as of `--log-level`. */
  readonly level: number;
  /** Takes one line without its newline. */
  readonly write: (line: string) => void;
  readonly clock: Clock;
}

/** A logger that writes lines as `options` say. */
export function createLogger(options: LogOptions, base: LogFields = {}): Logger {
  const line = (level: string, message: string, fields: LogFields, error?: string): void => {
    const entries = Object.entries({
      time: new Date(options.clock.now()).toISOString(),
      level,
      msg: message,
      ...base,
      ...(error === undefined ? {} : { err: error }),
      ...fields,
    });
    options.write(
      options.format === "json"
        ? JSON.stringify(Object.fromEntries(entries))
        : entries.flatMap(([key, value]) => value === undefined ? [] : [`${key}=${quoted(value)}`]).join(" "),
    );
  };
  return {
    info(message, fields = {}, verbosity = 0) {
      if (verbosity <= options.level) line(slogLevel(verbosity), message, fields);
    },
    error(message, error, fields = {}) {
      const text = error instanceof Error
        ? (options.level >= 5 ? error.stack ?? error.message : error.message)
        : String(error);
      line("ERROR", message, fields, text);
    },
    with: (fields) => createLogger(options, { ...base, ...fields }),
  };
}

/** The name of the level of `log/slog` that logr's verbosity stands for: INFO, and so many levels below it. DEBUG is four below. */
function slogLevel(verbosity: number): string {
  if (verbosity === 0) return "INFO";
  const aboveDebug = 4 - verbosity;
  return aboveDebug === 0 ? "DEBUG" : `DEBUG${aboveDebug > 0 ? "+" : ""}${aboveDebug}`;
}

/**
 * Quotes strings that would not read back as one word, as `log/slog` does: those that are empty, or have a blank, `=`, `"` or what
 * cannot be printed (here also U+007F, which it lets through).
 */
function quoted(value: string | number | boolean): string {
  if (typeof value !== "string") return String(value);
  return value === "" || /[\s="\p{C}\p{Z}\ufffd]/u.test(value) ? goQuote(value) : value;
}
