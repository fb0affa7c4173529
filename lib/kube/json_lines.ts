/** What came over a stream is not a line of JSON. The message never quotes it: it may be part of a Secret. */
export class JsonLinesError extends Error {
  override readonly name = "JsonLinesError";
}

/** Lines longer than this many bytes are refused. An object is at most about 3 MiB in etcd; JSON escapes can multiply that. */
const DEFAULT_MAX_LINE_BYTES = 64 * 1024 * 1024;

/** A buffer that has grown beyond this many bytes is let go once its line is complete. */
const KEPT_BUFFER_BYTES = 64 * 1024;

const NEWLINE = 0x0a;

/**
 * Splits a stream of bytes into lines and reads each as JSON.
 *
 * Secrets pass through here and must not stay in memory, so this works on bytes, not on strings (a piece of a string keeps
 * the whole of it alive), copies the beginning of an unfinished line instead of keeping its chunk, and overwrites that copy as
 * soon as the line is complete.
 */
export class JsonLines {
  readonly #maxLineBytes: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** Holds the beginning of the unfinished line; doubled when full, so that a long line is not copied for each chunk. */
  #buffer = new Uint8Array(0);
  #used = 0;

  /** @param options.maxLineBytes longest line that is accepted; default 64 MiB. */
  constructor(options: { maxLineBytes?: number } = {}) {
    this.#maxLineBytes = options.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES;
  }

  /** Bytes of the line that is not complete yet. */
  get pending(): number {
    return this.#used;
  }

  /**
   * Takes the next bytes and hands each value that is complete with them to `take`, in order. Blank lines are skipped. A
   * last line without a newline is never read: it may have been cut.
   *
   * @throws {JsonLinesError} if a line is no JSON, no UTF-8 or too long. The stream is of no use after that.
   */
  push(chunk: Uint8Array, take: (value: unknown) => void): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      if (this.#used === 0) {
        this.#read(chunk.subarray(start, end), take);
      } else {
        this.#append(chunk.subarray(start, end));
        try {
          this.#read(this.#buffer.subarray(0, this.#used), take);
        } finally {
          this.clear();
        }
      }
      start = end + 1;
    }
    this.#append(chunk.subarray(start));
  }

  /** Forgets the unfinished line. */
  clear(): void {
    if (this.#buffer.length > KEPT_BUFFER_BYTES) this.#buffer = new Uint8Array(0);
    else this.#buffer.fill(0, 0, this.#used);
    this.#used = 0;
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#used + bytes.length;
    this.#checkLength(needed);
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#buffer.length, 1024));
      grown.set(this.#buffer.subarray(0, this.#used));
      this.#buffer.fill(0, 0, this.#used);
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#used);
    this.#used = needed;
  }

  #read(line: Uint8Array, take: (value: unknown) => void): void {
    this.#checkLength(line.length);
    const value = this.#parse(line);
    if (value !== BLANK) take(value);
  }

  #parse(line: Uint8Array): unknown {
    try {
      const text = this.#decoder.decode(line);
      return text.trim() === "" ? BLANK : JSON.parse(text);
    } catch {
      // The error of JSON.parse quotes its input: neither its message nor the error itself may go on.
      throw new JsonLinesError(`A line of ${line.length} bytes is not JSON in UTF-8`);
    }
  }

  #checkLength(bytes: number): void {
    if (bytes > this.#maxLineBytes) {
      throw new JsonLinesError(`A line has more than the allowed ${this.#maxLineBytes} bytes`);
    }
  }
}

const BLANK = Symbol("blank line");
