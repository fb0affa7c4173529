import type { Clock } from "./clock.ts";

/** Values that a log line can carry. Never a Secret's data, a token or a private key. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * Structured log. Messages are constant; what varies goes into fields, so that lines can be searched and counted.
 * Verbosity follows klog: 0 is always written, 5 is the chattiest.
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
  /** `text` is klog-like `key=value`, `json` is one object a line. */
  readonly format: "text" | "json";
  /** 1 to 5, as of `--log-level`. */
  readonly level: number;
  /** Takes one line without its newline. */
  readonly write: (line: string) => void;
  readonly clock: Clock;
}

/** A logger that writes lines as `options` say. */
export function createLogger(options: LogOptions, base: LogFields = {}): Logger {
  const line = (severity: "info" | "error", message: string, fields: LogFields, error?: string): string => {
    const time = new Date(options.clock.now()).toISOString();
    if (options.format === "json") {
      return JSON.stringify({
        ts: time,
        level: severity,
        msg: message,
        ...(error === undefined ? {} : { err: error }),
        ...fields,
      });
    }
    let text = `${time} ${severity.toUpperCase()} ${message}`;
    if (error !== undefined) text += ` err=${quoted(error)}`;
    for (const [key, value] of Object.entries(fields)) {
      if (value !== undefined) text += ` ${key}=${quoted(value)}`;
    }
    return text;
  };
  return {
    info(message, fields = {}, verbosity = 0) {
      if (verbosity <= options.level) options.write(line("info", message, { ...base, ...fields }));
    },
    error(message, error, fields = {}) {
      const text = error instanceof Error
        ? (options.level >= 5 ? error.stack ?? error.message : error.message)
        : String(error);
      options.write(line("error", message, { ...base, ...fields }, text));
    },
    with: (fields) => createLogger(options, { ...base, ...fields }),
  };
}

/** Quotes strings that would not read back as one word. */
function quoted(value: string | number | boolean): string {
  return typeof value === "string" && !/^[\w.:/@+-]+$/.test(value) ? JSON.stringify(value) : String(value);
}
