import assert from "node:assert/strict";
import { managedFields, owned, target, targetRecord } from "../tests/builders.ts";
import { NotLeadingError, targetPath, WriteError, Writer } from "./apply.ts";
import type { KubeClient, KubeRequest } from "./kube/client.ts";
import { KubeConnectionError, KubeStatusError } from "./kube/errors.ts";
import type { TargetContent } from "./resolve.ts";

const owner = { name: "example", uid: "uid-of-example" };
const content: TargetContent = {
  kind: "ConfigMap",
  hash: "some-hash",
  keys: ["ca.crt"],
  owned: owned(),
  layout: undefined,
  body: new TextEncoder().encode('{"the":"body"}'),
};
const { signal } = new AbortController();

/** A writer to an API server that gives these answers, one a request. */
function setUp(...answers: (Error | Record<string, unknown> | "nothing")[]) {
  const requests: KubeRequest[] = [];
  /** What `mayWrite` says next; yes, when this is used up. */
  const leading: boolean[] = [];
  const client: Pick<KubeClient, "request"> = {
    request<T>(request: KubeRequest): Promise<T> {
      requests.push(request);
      const answer = answers.shift() ?? new Error("Not expected");
      if (answer instanceof Error) return Promise.reject(answer);
      return Promise.resolve((answer === "nothing" ? undefined : answer) as T);
    },
  };
  const unused = () => assert.fail("Not expected");
  return {
    writer: new Writer({
      client: { ...client, stream: unused, reconnect: unused, close: unused },
      mayWrite: () => leading.shift() ?? true,
    }),
    requests,
    leading,
    /** As a snapshot shows them: without the signal, bytes as text. */
    shown: () =>
      requests.map(({ signal: _, body, ...request }) => ({
        ...request,
        body: body instanceof Uint8Array ? new TextDecoder().decode(body) : body,
      })),
  };
}

function refused(code: number, message = "refused", retryAfterSeconds?: number): KubeStatusError {
  return new KubeStatusError({
    code,
    reason: "",
    message,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

Deno.test("a target is applied with the bytes of its content, and read from the answer", async (t) => {
  const { writer, requests, shown } = setUp({ ...target({ metadata: { resourceVersion: "9" } }) });
  const { record } = await writer.applyTarget(content, "app", "example", signal);
  assert.deepEqual(record, targetRecord({ resourceVersion: "9" }));
  assert.equal(requests[0]?.body, content.body); // not a copy
  assert.equal(requests[0]?.signal, signal);
  await t.assertSnapshot(shown());
});

Deno.test("cleaning and releasing show whether data is left, whoever owns it", async (t) => {
  const left = (more: Record<string, unknown>) => ({
    metadata: { name: "example", namespace: "app", uid: "uid-of-target", resourceVersion: "9" },
    ...more,
  });
  const table: { name: string; left: Record<string, unknown>; isEmpty: boolean }[] = [
    { name: "nothing left", left: left({}), isEmpty: true },
    { name: "empty maps", left: left({ data: {}, binaryData: {} }), isEmpty: true },
    { name: "data left", left: left({ data: { x: "y" } }), isEmpty: false },
    { name: "an empty value left", left: left({ data: { x: "" } }), isEmpty: false },
    { name: "binary data left", left: left({ binaryData: { x: "AA==" } }), isEmpty: false },
  ];
  for (const { name, left, isEmpty } of table) {
    await t.step(name, async () => {
      const { writer } = setUp(left, left);
      assert.equal((await writer.cleanTarget(targetRecord(), owner, signal)).isEmpty, isEmpty);
      assert.equal((await writer.releaseTarget(targetRecord(), signal)).isEmpty, isEmpty);
    });
  }
  for (const kind of ["ConfigMap", "Secret"] as const) {
    await t.step(`requests for a ${kind}`, async (t) => {
      const { writer, shown } = setUp(left({}), left({}), left({}), {});
      const stale = targetRecord({ kind });
      const { record } = await writer.cleanTarget(stale, owner, signal);
      await writer.cleanTarget(targetRecord({ kind, bundleUid: "uid-of-example" }), owner, signal);
      await writer.releaseTarget(stale, signal);
      await writer.deleteTarget({ ...record, kind }, signal);
      await t.assertSnapshot(shown());
    });
  }
});

Deno.test("a target in which others own data gets no owner reference", async (t) => {
  const body = new TextEncoder().encode(JSON.stringify({
    apiVersion: "v1",
    metadata: { name: "example", annotations: { a: "b" }, ownerReferences: [{ uid: "u" }] },
    data: { "ca.crt": "x" },
  }));
  const { writer, shown } = setUp({ ...target() });
  await writer.applyTarget({ ...content, body }, "app", "example", signal, "u");
  await t.assertSnapshot(shown());
});

Deno.test("what was updated under our name is taken over in one state of the object", async (t) => {
  const { writer, shown } = setUp({ ...target() });
  const entries = [
    managedFields({ data: ["ca.crt"] }),
    managedFields({ operation: "Update", data: ["x"] }),
    managedFields({ manager: "kubectl", operation: "Update", data: ["y"] }),
  ];
  await writer.takeOverTarget(targetRecord({ resourceVersion: "9" }), entries, signal);
  await t.assertSnapshot(shown());
});

Deno.test("a target that has gone, or was made anew, needs no cleaning", async (t) => {
  const table: { name: string; cause: Error }[] = [
    { name: "gone", cause: refused(404) },
    { name: "another object of that name", cause: refused(409) },
  ];
  for (const { name, cause } of table) {
    await t.step(name, async () => {
      for (const act of ["cleanTarget", "releaseTarget"] as const) {
        const { writer } = setUp(cause);
        const { record } = act === "cleanTarget"
          ? await writer.cleanTarget(targetRecord(), owner, signal)
          : await writer.releaseTarget(targetRecord(), signal);
        assert.deepEqual([record.resourceVersion, record.owned], ["", ""]);
      }
    });
  }
  await t.step("gone before it was deleted", async () => {
    const { writer } = setUp(refused(404));
    assert.equal((await writer.deleteTarget(targetRecord(), signal)).record.resourceVersion, "");
  });
  await t.step("somebody put data into it before it was deleted", async () => {
    const { writer } = setUp(refused(409, "the precondition does not hold"));
    await assert.rejects(writer.deleteTarget(targetRecord(), signal), {
      name: "WriteError",
      transient: true,
    });
  });
});

Deno.test("cleaning that fails says at what", async () => {
  const { writer } = setUp(refused(403, "forbidden"), refused(403, "forbidden"), refused(409, "conflict"));
  const failed = (cause: string) => ({ name: "WriteError", message: `failed to ${cause}` });
  await assert.rejects(
    writer.cleanTarget(targetRecord(), owner, signal),
    failed("patch ConfigMap app/example: forbidden"),
  );
  await assert.rejects(
    writer.deleteTarget(targetRecord(), signal),
    failed("delete ConfigMap app/example: forbidden"),
  );
  await assert.rejects(
    writer.takeOverTarget(targetRecord(), [], signal),
    failed("patch ConfigMap app/example: conflict"),
  );
});

Deno.test("status is applied to this Bundle and no successor", async (t) => {
  const bundle = { metadata: { name: "a b", resourceVersion: "7" } };
  const { writer, shown } = setUp(bundle);
  const status = { conditions: [], defaultCAVersion: "x" };
  assert.equal(await writer.applyStatus({ name: "a b", uid: "u" }, status, signal), "7");
  await t.assertSnapshot(shown());
  const failing = setUp(refused(404, "not found"));
  await assert.rejects(failing.writer.applyStatus(owner, {}, signal), {
    name: "WriteError",
    message: "failed to patch status of Bundle example: not found",
  });
});

Deno.test("a status that was updated under our name is taken over, then applied again", async (t) => {
  const fields = (operation: string) => ({
    manager: "trust-manager",
    operation,
    subresource: "status",
    fieldsV1: { "f:status": { "f:defaultCAVersion": {} } },
  });
  const bundle = (version: string, ...operations: string[]) => ({
    metadata: { name: "example", resourceVersion: version, managedFields: operations.map(fields) },
  });
  const { writer, shown } = setUp(bundle("7", "Update", "Apply"), bundle("8", "Apply"), bundle("9"));
  assert.equal(await writer.applyStatus(owner, { conditions: [] }, signal), "9");
  await t.assertSnapshot(shown());
});

Deno.test("a replica that does not lead writes nothing", async (t) => {
  const { writer, requests, leading } = setUp();
  const writes = {
    apply: () => writer.applyTarget(content, "app", "example", signal),
    clean: () => writer.cleanTarget(targetRecord(), owner, signal),
    release: () => writer.releaseTarget(targetRecord(), signal),
    delete: () => writer.deleteTarget(targetRecord(), signal),
    takeOver: () => writer.takeOverTarget(targetRecord(), [], signal),
    status: () => writer.applyStatus(owner, {}, signal),
  };
  leading.push(...Object.keys(writes).map(() => false));
  for (const [name, write] of Object.entries(writes)) {
    await t.step(name, () => assert.rejects(write(), NotLeadingError));
  }
  assert.deepEqual(requests, []);
});

Deno.test("a failed write tells its cause, whether it may pass by itself, and how long to wait", async (t) => {
  const table: { name: string; cause: Error; transient: boolean; retryAfterMs?: number }[] = [
    { name: "forbidden", cause: refused(403, "no rights"), transient: false },
    {
      name: "a namespace that is going away",
      cause: refused(
        403,
        'configmaps "x" is forbidden: unable to create new content in namespace a because it is being terminated',
      ),
      transient: true,
    },
    { name: "a namespace that is gone", cause: refused(404, 'namespaces "a" not found'), transient: true },
    { name: "conflict", cause: refused(409), transient: true },
    { name: "too large", cause: refused(413), transient: false },
    { name: "invalid", cause: refused(422), transient: false },
    { name: "too many requests", cause: refused(429, "later", 7), transient: true, retryAfterMs: 7_000 },
    { name: "broken", cause: refused(500), transient: true },
    { name: "overloaded", cause: refused(503, "later", 1), transient: true, retryAfterMs: 1_000 },
    {
      name: "no connection",
      cause: new KubeConnectionError("refused", { timedOut: false }),
      transient: true,
    },
    {
      name: "no answer in time",
      cause: new KubeConnectionError("timed out", { timedOut: true }),
      transient: false,
    },
    { name: "given up", cause: new Error("The queue is stopping"), transient: false },
  ];
  for (const { name, cause, transient, retryAfterMs = 0 } of table) {
    await t.step(name, async () => {
      const { writer, requests } = setUp(cause);
      const error = await writer.applyTarget(content, "app", "example", signal).then(
        () => assert.fail("No error"),
        (error) => error,
      );
      assert.ok(error instanceof WriteError);
      assert.equal(error.message, `failed to patch ConfigMap app/example: ${cause.message}`);
      assert.deepEqual([error.transient, error.retryAfterMs, error.cause], [transient, retryAfterMs, cause]);
      assert.equal(requests.length, 1); // trying again is the queue's matter
    });
  }
});

Deno.test("an answer without an object is none: the write is tried again", async (t) => {
  for (const answer of ["nothing", {}, { metadata: "x" }] as const) {
    await t.step(JSON.stringify(answer), async () => {
      for (const act of ["applyTarget", "cleanTarget"] as const) {
        const { writer } = setUp(answer);
        const done = act === "applyTarget"
          ? writer.applyTarget(content, "app", "example", signal)
          : writer.cleanTarget(targetRecord(), owner, signal);
        await assert.rejects(done, (error) => {
          assert.ok(error instanceof WriteError);
          assert.equal(error.message, "failed to patch ConfigMap app/example: the answer holds no object");
          assert.equal(error.transient, true);
          return true;
        });
      }
    });
  }
});

Deno.test("paths of targets", () => {
  assert.equal(targetPath("ConfigMap", "a", "b.c"), "/api/v1/namespaces/a/configmaps/b.c");
  assert.equal(targetPath("Secret", "a", "b/c"), "/api/v1/namespaces/a/secrets/b%2Fc");
});
