import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { Certificate } from "../lib/certs/certificate.ts";
import {
  carryOut,
  DEFAULT_TIMES,
  nextStep,
  nextStepInMs,
  readStored,
  type SecretValues,
  type Step,
} from "./self_certificates_plan.ts";

const DAY = 86_400_000;
const MINUTE = 60_000;
// The runtime's parser does not mind the time of this machine; nothing here does.
const START = Date.parse("2030-01-01T00:00:00Z");
const NAMES = ["hook.ns.svc", "hook.ns.svc.cluster.local"];

const read = (values: SecretValues, now: number) => readStored(values, NAMES, now);

/** Does all that is to be done at a moment. */
async function settle(
  values: SecretValues,
  now: number,
  known: readonly Certificate[] = [],
): Promise<{ values: SecretValues; steps: Step[] }> {
  const steps: Step[] = [];
  while (true) {
    const stored = await read(values, now);
    const step = nextStep(stored, DEFAULT_TIMES, now);
    if (step === "keep") return { values, steps };
    steps.push(step);
    assert.ok(steps.length < 5, steps.join());
    values = await carryOut(step, stored, known, NAMES, DEFAULT_TIMES, now);
  }
}

Deno.test("an empty Secret gets a CA and a certificate of it", async () => {
  const { values, steps } = await settle({}, START);
  assert.deepEqual(steps, ["new CA"]);
  const { cas, caKey, serving } = await read(values, START);
  assert.equal(cas.length, 1);
  assert.ok(caKey !== undefined && serving !== undefined);
  assert.equal(serving.issuer.sha256, cas[0]?.sha256);
  assert.equal(serving.pair.notAfter, START + 90 * DAY);
  const leaf = new X509Certificate(serving.pair.certificate);
  for (const name of NAMES) assert.equal(leaf.checkHost(name), name);
});

Deno.test("in two years nothing ever expires, and each change is made in the right order", async () => {
  let { values } = await settle({}, START);
  let now = START;
  const log: string[] = [];
  while (now < START + 730 * DAY) {
    const stored = await read(values, now);
    const { serving, cas } = stored;
    assert.ok(serving !== undefined && serving.pair.notAfter - now > 20 * DAY);
    assert.ok((cas[0]?.notAfter ?? 0) - now > 60 * DAY);
    const wait = nextStepInMs(stored, DEFAULT_TIMES, now);
    assert.ok(wait > 0);
    now += wait;
    const settled = await settle(values, now);
    for (const step of settled.steps) log.push(`${Math.floor((now - START) / DAY)} ${step}`);
    values = settled.values;
  }
  assert.deepEqual(log.slice(0, 8), [
    "60 new serving certificate",
    "120 new serving certificate",
    "180 new serving certificate",
    "240 new serving certificate",
    "243 new CA",
    "243 new serving certificate",
    "243 drop old CAs",
    "303 new serving certificate",
  ]);
});

Deno.test("a renewed CA is announced before anything is served that only it vouches for", async () => {
  const { values: first } = await settle({}, START);
  const due = START + Math.ceil(365 * DAY * 2 / 3);
  const { values: kept } = await settle(first, due - 1); // a serving certificate of that time
  const { values: announced, steps } = await settle(kept, due);
  assert.deepEqual(steps, ["new CA"]);
  const [before, after] = [await read(kept, due), await read(announced, due)];
  assert.equal(after.cas.length, 2);
  assert.equal(after.cas[1]?.sha256, before.cas[0]?.sha256);
  assert.equal(after.serving?.pair.serialNumber, before.serving?.pair.serialNumber);

  assert.deepEqual((await settle(announced, due + 4 * MINUTE)).steps, []);
  const { values: served, steps: serving } = await settle(announced, due + 5 * MINUTE);
  assert.deepEqual(serving, ["new serving certificate"]);
  assert.equal((await read(served, due + 5 * MINUTE)).cas.length, 2);
  assert.deepEqual((await settle(served, due + 64 * MINUTE)).steps, []);
  const { values: last, steps: drop } = await settle(served, due + 65 * MINUTE);
  assert.deepEqual(drop, ["drop old CAs"]);
  assert.equal((await read(last, due + 65 * MINUTE)).cas.length, 1);
});

Deno.test("after a lost Secret, the CAs that are trusted at present stay trusted for a while", async () => {
  const { values: lost } = await settle({}, START);
  const known = (await read(lost, START)).cas;
  const { values } = await settle({}, START + DAY, known);
  const { cas, serving } = await read(values, START + DAY);
  assert.equal(cas.length, 2);
  assert.equal(serving?.issuer.sha256, cas[0]?.sha256);
  assert.deepEqual((await settle(values, START + DAY + 60 * MINUTE)).steps, ["drop old CAs"]);
});

const { values: good } = await settle({}, START);
const { values: others } = await settle({}, START);

const damage: Record<string, { values: SecretValues; steps: Step[] }> = {
  "nothing": { values: good, steps: [] },
  "something besides": { values: { ...good, more: "x" }, steps: [] },
  "no serving certificate": {
    values: { "ca.crt": good["ca.crt"] ?? "", "ca.key": good["ca.key"] ?? "" },
    steps: ["new serving certificate"],
  },
  "serving key that is garbage": { values: { ...good, "tls.key": "x" }, steps: ["new serving certificate"] },
  "serving key of another": {
    values: { ...good, "tls.key": others["tls.key"] ?? "" },
    steps: ["new serving certificate"],
  },
  "serving pair of another CA": {
    values: { ...good, "tls.key": others["tls.key"] ?? "", "tls.crt": others["tls.crt"] ?? "" },
    steps: ["new serving certificate"],
  },
  "CA key that is gone": { values: { ...good, "ca.key": "" }, steps: ["new CA"] },
  "CA key of another": { values: { ...good, "ca.key": others["ca.key"] ?? "" }, steps: ["new CA"] },
  "CA that is garbage": { values: { ...good, "ca.crt": "x" }, steps: ["new CA"] },
  "CA that is none": { values: { ...good, "ca.crt": good["tls.crt"] ?? "" }, steps: ["new CA"] },
  "everything": {
    values: { "ca.crt": "\0", "ca.key": "\ufffd", "tls.crt": "[", "tls.key": "-----" },
    steps: ["new CA"],
  },
};

for (const [name, { values, steps }] of Object.entries(damage)) {
  Deno.test(`damage to a Secret: ${name}`, async () => {
    const repaired = await settle(values, START);
    assert.deepEqual(repaired.steps, steps);
    assert.ok((await read(repaired.values, START)).serving !== undefined);
  });
}

Deno.test("a serving pair without its CA's key goes on until the new CA is announced", async () => {
  const { values } = await settle({ ...good, "ca.key": "" }, START);
  const serial = async (values: SecretValues) => (await read(values, START)).serving?.pair.serialNumber;
  assert.equal(await serial(values), await serial(good));
  assert.equal((await read(values, START)).cas.length, 2);
});

Deno.test("other names make a new certificate", async () => {
  const stored = await readStored(good, ["other.ns.svc"], START);
  assert.equal(nextStep(stored, DEFAULT_TIMES, START), "new serving certificate");
});

Deno.test("what has expired is not used", async () => {
  const late = START + 400 * DAY;
  assert.deepEqual(await read(good, late), { cas: [], caKey: undefined, serving: undefined });
  assert.deepEqual((await settle(good, late)).steps, ["new CA"]);
  assert.equal((await read(good, START + 91 * DAY)).serving, undefined);
});
