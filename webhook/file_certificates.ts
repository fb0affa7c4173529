import { type Clock, delay } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { CertificateSource } from "./certificate_source.ts";
import { type KeyPair, KeyPairError, readKeyPair } from "./key_pair.ts";

/** Where the files are, and how they are watched. */
export interface FileCertificatesOptions {
  /** Folder with tls.crt and tls.key. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when files were read that cannot be served. */
  readonly onBroken: () => void;
  /** Milliseconds between looks at the files. Default 2,000. */
  readonly intervalMs?: number;
}

/**
 * A certificate and a key in files that others replace at any time: the kubelet, for instance, when a mounted Secret has changed.
 * The files are read again and again, as notifications get lost on network file systems and behind the kubelet's links.
 */
export class FileCertificates implements CertificateSource {
  readonly #options: FileCertificatesOptions;
  /** What the files held last, so that nothing is done or said twice. */
  #seen: string | undefined;
  #inUse = false;
  #problem: string | undefined;

  constructor(options: FileCertificatesOptions) {
    this.#options = options;
    this.#problem = `The files tls.crt and tls.key in ${options.dir} have not been read yet`;
  }

  problem(): string | undefined {
    return this.#problem;
  }

  async run(use: (pair: KeyPair) => void, signal: AbortSignal): Promise<void> {
    const { clock, intervalMs = 2_000 } = this.#options;
    while (!signal.aborted) {
      await this.#look(use);
      await delay(clock, intervalMs, signal).catch(() => {});
    }
  }

  async #look(use: (pair: KeyPair) => void): Promise<void> {
    const { dir } = this.#options;
    const read = (name: string) => Deno.readTextFile(`${dir}/${name}`);
    let certificate: string;
    let privateKey: string;
    try {
      [certificate, privateKey] = await Promise.all([read("tls.crt"), read("tls.key")]);
    } catch (error) {
      const cause = error instanceof Deno.errors.NotFound
        ? "there is no such file yet"
        : error instanceof Error
        ? error.message
        : String(error);
      this.#fail(`unreadable ${cause}`, cause);
      return;
    }
    const content = `${certificate}\0${privateKey}`;
    if (content === this.#seen) return;
    try {
      use(readKeyPair(certificate, privateKey));
    } catch (error) {
      if (!(error instanceof KeyPairError)) throw error;
      // One file may have been replaced and the other not yet: the next look tells.
      this.#fail(content, error.message);
      return;
    }
    this.#seen = content;
    this.#inUse = true;
    this.#problem = undefined;
  }

  #fail(state: string, cause: string): void {
    const { dir, log, onBroken } = this.#options;
    const keeps = this.#inUse ? "; the former certificate stays in use" : "";
    this.#problem = `Cannot use tls.crt and tls.key in ${dir}: ${cause}${keeps}`;
    if (state === this.#seen) return;
    this.#seen = state;
    onBroken();
    log.error(
      this.#inUse
        ? "Webhook certificate cannot be replaced; the former one stays in use"
        : "Webhook certificate is not there yet; waiting for it",
      cause,
      { dir },
    );
  }
}
