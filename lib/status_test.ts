import assert from "node:assert/strict";
import { bundleRecord } from "../tests/builders.ts";
import type { BundleStatus, LabelSelectorSpec } from "./api/bundle.ts";
import { parseLabelSelector } from "./api/label_selector.ts";
import type { Condition } from "./kube/objects.ts";
import type { Resolution } from "./resolve.ts";
import {
  conditionDiffers,
  type DesiredStatus,
  foldStatus,
  statusBody,
  statusDiffers,
  type TargetFailure,
} from "./status.ts";

const FACTS = { notices: [], emptySources: 0, cycleSize: 0 };

function good(selector: LabelSelectorSpec = {}, defaultCaVersion?: string): Resolution {
  return {
    ok: true,
    version: { pool: [], contents: [], keyStores: [], earliestExpiry: 0 },
    selector: parseLabelSelector(selector),
    defaultCaVersion,
    ...FACTS,
  };
}

function problem(reason: string, message: string): Resolution {
  return { ok: false, problem: { reason, message, retry: false }, ...FACTS };
}

function failure(namespace: string, parts: Partial<TargetFailure> = {}): TargetFailure {
  const kind = parts.kind ?? "ConfigMap";
  return { kind, namespace, cause: `failed to patch ${kind} ${namespace}/example: forbidden`, ...parts };
}

Deno.test("success says which namespaces", async (t) => {
  const all = "Successfully synced Bundle to all namespaces";
  const matching = "Successfully synced Bundle to namespaces that match this label selector:";
  const allAllowed = "Successfully synced Bundle to all allowed namespaces";
  const matchingAllowed = "Successfully synced Bundle to allowed namespaces that match this label selector:";
  const expression = (key: string, operator: string, ...values: string[]) => ({
    matchExpressions: [{ key, operator, ...(values.length > 0 ? { values } : {}) }],
  });
  const table: { selector: LabelSelectorSpec; limited?: boolean; message: string }[] = [
    { selector: {}, message: all },
    { selector: { matchLabels: {}, matchExpressions: [] }, message: all },
    { selector: {}, limited: true, message: allAllowed },
    { selector: { matchLabels: { a: "b" } }, message: `${matching} a=b` },
    { selector: { matchLabels: { a: "b" } }, limited: true, message: `${matchingAllowed} a=b` },
    { selector: { matchLabels: { b: "2", a: "1" } }, message: `${matching} a=1,b=2` },
    { selector: expression("k", "In", "v"), message: `${matching} k in (v)` },
    { selector: expression("k", "In", "y", "x"), message: `${matching} k in (x,y)` },
    { selector: expression("k", "NotIn", "y", "x"), message: `${matching} k notin (x,y)` },
    { selector: expression("k", "Exists"), message: `${matching} k` },
    { selector: expression("k", "DoesNotExist"), message: `${matching} !k` },
    {
      selector: {
        matchLabels: { a: "b" },
        matchExpressions: [{ key: "d", operator: "DoesNotExist" }, {
          key: "c",
          operator: "In",
          values: ["y", "x"],
        }],
      },
      message: `${matching} a=b,c in (x,y),!d`,
    },
  ];
  for (const { selector, limited = false, message } of table) {
    await t.step(message, () => {
      assert.deepEqual(foldStatus(good(selector), [], limited, undefined), {
        status: "True",
        reason: "Synced",
        message,
        note: message,
        defaultCaVersion: undefined,
      });
    });
  }
});

Deno.test("failed targets: the first namespace in name order, and how many more", async (t) => {
  const table: { name: string; failures: TargetFailure[]; reason: string; message: string; note: string }[] =
    [
      {
        name: "one ConfigMap",
        failures: [failure("app")],
        reason: "SyncConfigMapTargetFailed",
        message:
          'Failed to sync bundle ConfigMap to namespace "app": failed to patch ConfigMap app/example: forbidden',
        note:
          'Failed to sync target ConfigMap in Namespace "app": failed to patch ConfigMap app/example: forbidden',
      },
      {
        name: "one Secret",
        failures: [failure("app", { kind: "Secret" })],
        reason: "SyncSecretTargetFailed",
        message:
          'Failed to sync bundle Secret to namespace "app": failed to patch Secret app/example: forbidden',
        note:
          'Failed to sync target Secret in Namespace "app": failed to patch Secret app/example: forbidden',
      },
      {
        name: "two",
        failures: [failure("b", { cause: "of b" }), failure("a", { cause: "of a" })],
        reason: "SyncConfigMapTargetFailed",
        message: 'Failed to sync bundle ConfigMap to namespace "a": of a (and 1 more)',
        note: 'Failed to sync target ConfigMap in Namespace "a": of a (and 1 more)',
      },
      {
        name: "many",
        failures: ["n-10", "n-9", "n-2", "n-1"].map((namespace) => failure(namespace, { cause: "no" })),
        reason: "SyncConfigMapTargetFailed",
        message: 'Failed to sync bundle ConfigMap to namespace "n-1": no (and 3 more)',
        note: 'Failed to sync target ConfigMap in Namespace "n-1": no (and 3 more)',
      },
      {
        name: "both kinds in one namespace: the ConfigMap first",
        failures: [failure("a", { kind: "Secret", cause: "s" }), failure("a", { cause: "c" })],
        reason: "SyncConfigMapTargetFailed",
        message: 'Failed to sync bundle ConfigMap to namespace "a": c (and 1 more)',
        note: 'Failed to sync target ConfigMap in Namespace "a": c (and 1 more)',
      },
      {
        name: "a Secret in an earlier namespace",
        failures: [failure("b", { cause: "c" }), failure("a", { kind: "Secret", cause: "s" })],
        reason: "SyncSecretTargetFailed",
        message: 'Failed to sync bundle Secret to namespace "a": s (and 1 more)',
        note: 'Failed to sync target Secret in Namespace "a": s (and 1 more)',
      },
    ];
  for (const { name, failures, reason, message, note } of table) {
    await t.step(name, () => {
      assert.deepEqual(foldStatus(good(), failures, false, undefined), {
        status: "False",
        reason,
        message,
        note,
        defaultCaVersion: undefined,
      });
    });
  }
});

Deno.test("a problem of the Bundle is told, whatever became of its targets", () => {
  assert.deepEqual(foldStatus(problem("SourceNotFound", "not there"), [failure("app")], true, undefined), {
    status: "False",
    reason: "SourceNotFound",
    message: "not there",
    note: "not there",
    defaultCaVersion: undefined,
  });
});

Deno.test("the default package is told once all is right; a failure keeps what was told", async (t) => {
  const table: {
    name: string;
    resolution: Resolution;
    failures?: TargetFailure[];
    stored: string | undefined;
    told: string | undefined;
  }[] = [
    { name: "first success", resolution: good({}, "new"), stored: undefined, told: "new" },
    { name: "another package", resolution: good({}, "new"), stored: "old", told: "new" },
    { name: "not used any more", resolution: good(), stored: "old", told: undefined },
    {
      name: "a target failed",
      resolution: good({}, "new"),
      failures: [failure("a")],
      stored: "old",
      told: "old",
    },
    {
      name: "a target failed at first",
      resolution: good({}, "new"),
      failures: [failure("a")],
      stored: undefined,
      told: undefined,
    },
    {
      name: "a target failed, not used any more",
      resolution: good(),
      failures: [failure("a")],
      stored: "old",
      told: "old",
    },
    { name: "a problem", resolution: problem("SourceNotFound", "m"), stored: "old", told: "old" },
  ];
  for (const { name, resolution, failures = [], stored, told } of table) {
    await t.step(name, () => {
      assert.equal(foldStatus(resolution, failures, false, stored).defaultCaVersion, told);
    });
  }
});

Deno.test("a message fits into a condition, which takes 32768 characters", async (t) => {
  const long = "x".repeat(40_000);
  const table: { name: string; resolution: Resolution; failures: TargetFailure[]; end: RegExp }[] = [
    { name: "of a problem", resolution: problem("SourceBuildError", long), failures: [], end: /x…$/ },
    { name: "of a target", resolution: good(), failures: [failure("a", { cause: long })], end: /x…$/ },
    {
      name: "of the first of several targets",
      resolution: good(),
      failures: [failure("b"), failure("a", { cause: long })],
      end: /x… \(and 1 more\)$/,
    },
  ];
  for (const { name, resolution, failures, end } of table) {
    await t.step(name, () => {
      const { message } = foldStatus(resolution, failures, false, undefined);
      assert.ok(message.length <= 32_768 && message.length > 32_000);
      assert.match(message, /^(Failed to sync|x)/);
      assert.match(message, end);
    });
  }
  await t.step("just short enough", () => {
    const message = "x".repeat(32_668);
    assert.equal(foldStatus(problem("SourceBuildError", message), [], false, undefined).message, message);
  });
});

const DESIRED: DesiredStatus = {
  status: "True",
  reason: "Synced",
  message: "all right",
  note: "all right",
  defaultCaVersion: "debian-1-ab",
};

function stored(parts: Partial<Condition> = {}): Condition {
  return {
    type: "Synced",
    status: "True",
    reason: "Synced",
    message: "all right",
    observedGeneration: 2,
    lastTransitionTime: "2029-12-31T23:59:59Z",
    ...parts,
  };
}

function bundleWith(status: BundleStatus | undefined) {
  return bundleRecord({ metadata: { generation: 2 }, ...(status === undefined ? {} : { status }) });
}

Deno.test("status is written, and an event sent, if they say something new", async (t) => {
  const defaultCAVersion = "debian-1-ab";
  const table: { name: string; status: BundleStatus | undefined; write: boolean; event: boolean }[] = [
    { name: "the same", status: { conditions: [stored()], defaultCAVersion }, write: false, event: false },
    {
      name: "the same, since another time",
      status: { conditions: [stored({ lastTransitionTime: "2001-01-01T00:00:00Z" })], defaultCAVersion },
      write: false,
      event: false,
    },
    { name: "none", status: undefined, write: true, event: true },
    { name: "no condition", status: { defaultCAVersion }, write: true, event: true },
    {
      name: "another status",
      status: { conditions: [stored({ status: "False" })], defaultCAVersion },
      write: true,
      event: true,
    },
    {
      name: "another reason",
      status: { conditions: [stored({ reason: "R" })], defaultCAVersion },
      write: true,
      event: true,
    },
    {
      name: "another message",
      status: { conditions: [stored({ message: "m" })], defaultCAVersion },
      write: true,
      event: true,
    },
    {
      name: "an older generation",
      status: { conditions: [stored({ observedGeneration: 1 })], defaultCAVersion },
      write: true,
      event: false,
    },
    {
      name: "another package",
      status: { conditions: [stored()], defaultCAVersion: "x" },
      write: true,
      event: false,
    },
    { name: "no package", status: { conditions: [stored()] }, write: true, event: false },
    {
      name: "only a condition of another type",
      status: { conditions: [stored({ type: "Other" })], defaultCAVersion },
      write: true,
      event: true,
    },
  ];
  for (const { name, status, write, event } of table) {
    await t.step(name, () => {
      const bundle = bundleWith(status);
      assert.equal(statusDiffers(DESIRED, bundle), write);
      assert.equal(conditionDiffers(DESIRED, bundle.condition), event);
    });
  }
});

Deno.test("the status bodies", async (t) => {
  const now = Date.parse("2030-01-01T00:00:00.987Z");
  const failed: DesiredStatus = {
    status: "False",
    reason: "SyncConfigMapTargetFailed",
    message: 'Failed to sync bundle ConfigMap to namespace "a": no (and 1 more)',
    note: "not part of it",
    defaultCaVersion: undefined,
  };
  const table: { name: string; desired: DesiredStatus; status?: BundleStatus }[] = [
    { name: "first success", desired: DESIRED },
    { name: "first failure", desired: failed },
    {
      name: "still right, another message: since then",
      desired: DESIRED,
      status: { conditions: [stored({ message: "m" })] },
    },
    {
      name: "right again: since now",
      desired: DESIRED,
      status: { conditions: [stored({ status: "False" })] },
    },
    {
      name: "others' conditions are not ours to write",
      desired: failed,
      status: { conditions: [stored({ type: "Other" }), stored()], defaultCAVersion: "old" },
    },
  ];
  for (const { name, desired, status } of table) {
    await t.step(name, async (t) => {
      await t.assertSnapshot(statusBody(desired, bundleWith(status), now));
    });
  }
});

/** What the API server stores of a message, and shows to the next pass. */
function asStored(message: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(JSON.parse(JSON.stringify(message))));
}

Deno.test("whatever a message is made of, the API server takes it, and stores it as it is", async (t) => {
  const long = "x".repeat(63);
  const names = (count: number) => ({
    matchExpressions: [{
      key: "kubernetes.io/metadata.name",
      operator: "In",
      values: Array.from({ length: count }, (_, i) => `${i}`.padStart(4, "0") + long.slice(4)),
    }],
  });
  const short = (shortfall: string): Resolution => {
    const resolution = good();
    assert.ok(resolution.ok);
    const nothing = { hash: "", keys: [], owned: "", layout: undefined, body: new Uint8Array() };
    const content = { kind: "ConfigMap", ...nothing, shortfall } as const;
    return { ...resolution, version: { ...resolution.version, contents: [content] } };
  };
  const table: { name: string; resolution: Resolution; failures?: TargetFailure[]; cut: boolean }[] = [
    { name: "a selector of 400 names", resolution: good(names(400)), cut: false },
    { name: "a selector of 800 names", resolution: good(names(800)), cut: true },
    { name: "a selector of 10,000 names", resolution: good(names(10_000)), cut: true },
    { name: "a long problem", resolution: problem("SourceBuildError", "ä".repeat(100_000)), cut: true },
    { name: "a long shortfall", resolution: short("y".repeat(100_000)), cut: true },
    {
      name: "a long shortfall beside failed targets",
      resolution: short("y".repeat(100_000)),
      failures: [failure("a")],
      cut: true,
    },
    {
      name: "a long refusal of a target",
      resolution: good(),
      failures: [failure("a", { cause: "😀".repeat(50_000) }), failure("b")],
      cut: true,
    },
    ...[0, 1].map((odd) => ({
      name: `characters of two units, cut at any place (${odd})`,
      resolution: problem("SourceBuildError", "x".repeat(odd) + "😀".repeat(50_000)),
      cut: true,
    })),
    { name: "half a character", resolution: problem("SourceBuildError", "a\ud800b"), cut: false },
  ];
  for (const { name, resolution, failures = [], cut } of table) {
    await t.step(name, () => {
      for (const limited of [false, true]) {
        const desired = foldStatus(resolution, failures, limited, undefined);
        assert.ok([...desired.message].length <= 32_768, `${[...desired.message].length} characters`);
        assert.equal(desired.message.includes("…"), cut);
        // Once it is written there is nothing more to write.
        assert.equal(asStored(desired.message), desired.message);
        assert.equal(foldStatus(resolution, failures, limited, undefined).message, desired.message);
        assert.equal(desired.message.isWellFormed(), true);
      }
    });
  }
});
