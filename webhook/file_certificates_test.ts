import assert from "node:assert/strict";
import { systemClock } from "../lib/clock.ts";
import { createLogger } from "../lib/log.ts";
import { FileCertificates } from "./file_certificates.ts";
import { until } from "../tests/until.ts";
import type { KeyPair } from "./key_pair.ts";
import { testKeyPair } from "./test_key_pair.ts";

/** A folder that is watched. */
class Fixture implements AsyncDisposable {
  readonly dir: string;
  readonly used: string[] = [];
  readonly lines: string[] = [];
  broken = 0;
  readonly source: FileCertificates;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(dir: string) {
    this.dir = dir;
    const write = (line: string) => void this.lines.push(line);
    this.source = new FileCertificates({
      dir,
      clock: systemClock,
      log: createLogger({ format: "json", level: 1, write, clock: systemClock }),
      onBroken: () => this.broken++,
      intervalMs: 2,
    });
    this.#running = this.source.run(({ serialNumber }) => this.used.push(serialNumber), this.#stop.signal);
  }

  async put(certificate: string, privateKey: string): Promise<void> {
    await this.replace("tls.crt", certificate);
    await this.replace("tls.key", privateKey);
  }

  /** Replaces a file at once: a file that is written in place is seen empty by a look at that moment. */
  async replace(name: string, content: string): Promise<void> {
    await Deno.writeTextFile(`${this.dir}/${name}.new`, content);
    await Deno.rename(`${this.dir}/${name}.new`, `${this.dir}/${name}`);
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    await until(condition, () => `${what}: ${this.lines.join("\n")}`, 10_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Deno.remove(this.dir, { recursive: true });
  }
}

const fixture = async () => new Fixture(await Deno.makeTempDir());
const serials = (...pairs: KeyPair[]) => pairs.map(({ serialNumber }) => serialNumber);

Deno.test("no files yet: it says why, and waits", async () => {
  await using files = await fixture();
  await files.until("it was said", () => files.broken === 1);
  assert.match(
    files.source.problem() ?? "",
    /^Cannot use tls\.crt and tls\.key in .*: there is no such file yet$/,
  );
  assert.match(files.lines[0] ?? "", /Webhook certificate is not there yet; waiting for it/);
  const { pair } = await testKeyPair();
  await files.put(pair.certificate, pair.privateKey);
  await files.until("it is used", () => files.used.length === 1);
  assert.equal(files.source.problem(), undefined);
});

Deno.test("a changed pair is taken, once", async () => {
  await using files = await fixture();
  const [{ pair: one }, { pair: two }] = await Promise.all([testKeyPair(), testKeyPair()]);
  await files.put(one.certificate, one.privateKey);
  await files.until("the first is used", () => files.used.length === 1);
  await files.put(two.certificate, two.privateKey);
  await files.until("the second is used", () => files.used.length === 2);
  assert.deepEqual(files.used, serials(one, two));
});

Deno.test("a pair in links that are swapped, as the kubelet does it", async () => {
  await using files = await fixture();
  const pairs = [(await testKeyPair()).pair, (await testKeyPair()).pair];
  for (const [i, { certificate, privateKey }] of pairs.entries()) {
    await Deno.mkdir(`${files.dir}/..${i}`);
    await Deno.writeTextFile(`${files.dir}/..${i}/tls.crt`, certificate);
    await Deno.writeTextFile(`${files.dir}/..${i}/tls.key`, privateKey);
  }
  await Deno.symlink("..0", `${files.dir}/..data`);
  await Deno.symlink("..data/tls.crt", `${files.dir}/tls.crt`);
  await Deno.symlink("..data/tls.key", `${files.dir}/tls.key`);
  await files.until("the first is used", () => files.used.length === 1);
  await Deno.symlink("..1", `${files.dir}/..next`);
  await Deno.rename(`${files.dir}/..next`, `${files.dir}/..data`);
  await files.until("the second is used", () => files.used.length === 2);
  assert.deepEqual(files.used, serials(...pairs));
});

Deno.test("a broken pair is told once and keeps the former one", async () => {
  await using files = await fixture();
  const [{ pair: one }, { pair: two }] = await Promise.all([testKeyPair(), testKeyPair()]);
  await files.put(one.certificate, one.privateKey);
  await files.until("the first is used", () => files.used.length === 1);
  const before = files.broken;
  await files.replace("tls.key", two.privateKey);
  await files.until("it was said", () => files.broken > before && files.source.problem() !== undefined);
  assert.match(
    files.source.problem() ?? "",
    /Private key is not that of the certificate; the former certificate stays in use$/,
  );
  assert.match(
    files.lines.at(-1) ?? "",
    /Webhook certificate cannot be replaced; the former one stays in use/,
  );
  assert.doesNotMatch(files.lines.join(), /BEGIN|MIG/);
  const lines = files.lines.length;
  await Deno.remove(`${files.dir}/tls.crt`);
  await files.until("that is said too", () => files.lines.length === lines + 1);
  await files.put(two.certificate, two.privateKey);
  await files.until("the second is used", () => files.used.length === 2);
  assert.deepEqual(files.used, serials(one, two));
  assert.equal(files.source.problem(), undefined);
});
