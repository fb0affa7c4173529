import assert from "node:assert/strict";
import { target, targetRecord } from "../tests/builders.ts";
import { NotLeadingError, targetPath, WriteError, Writer } from "./apply.ts";
import type { KubeClient, KubeRequest } from "./kube/client.ts";
import { KubeConnectionError, KubeStatusError } from "./kube/errors.ts";
import type { TargetContent } from "./resolve.ts";

const owner = { name: "example", uid: "uid-of-example" };
const content: TargetContent = {
  kind: "ConfigMap",
  hash: "some-hash",
  keys: "ca.crt",
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
  const record = await writer.applyTarget(content, "app", "example", signal);
  assert.deepEqual(record, targetRecord({ resourceVersion: "9" }));
  assert.equal(requests[0]?.body, content.body); // not a copy
  assert.equal(requests[0]?.signal, signal);
  await t.assertSnapshot(shown());
});

Deno.test("a stale target loses what is ours, and is deleted if nothing is left", async (t) => {
  const left = (more: Record<string, unknown>) => ({
    metadata: { name: "example", namespace: "app", uid: "uid-of-target", resourceVersion: "9" },
    ...more,
  });
  const table: { name: string; left: Record<string, unknown>; deleted: boolean }[] = [
    { name: "nothing left", left: left({}), deleted: true },
    { name: "empty maps", left: left({ data: {}, binaryData: {} }), deleted: true },
    { name: "data left", left: left({ data: { x: "y" } }), deleted: false },
    { name: "an empty value left", left: left({ data: { x: "" } }), deleted: false },
    { name: "binary data left", left: left({ binaryData: { x: "AA==" } }), deleted: false },
  ];
  for (const { name, left, deleted } of table) {
    await t.step(name, async () => {
      const { writer, requests } = setUp(left, {});
      await writer.cleanTarget(targetRecord(), owner, signal);
      assert.deepEqual(requests.map(({ method }) => method), deleted ? ["PATCH", "DELETE"] : ["PATCH"]);
    });
  }
  for (const kind of ["ConfigMap", "Secret"] as const) {
    await t.step(`requests for a ${kind}`, async (t) => {
      const { writer, shown } = setUp(left({}), {});
      await writer.cleanTarget(targetRecord({ kind }), owner, signal);
      await t.assertSnapshot(shown());
    });
  }
});

Deno.test("cleaning a target that has gone, or was made anew, is done", async (t) => {
  const table: { name: string; answers: (Error | Record<string, unknown>)[] }[] = [
    { name: "gone", answers: [refused(404)] },
    { name: "another object of that name", answers: [refused(409)] },
    { name: "gone before it was deleted", answers: [{ ...target() }, refused(404)] },
    { name: "somebody put data into it meanwhile", answers: [{ ...target() }, refused(409)] },
  ];
  for (const { name, answers } of table) {
    await t.step(name, async () => {
      const { writer, requests } = setUp(...answers);
      const expected = answers.length;
      await writer.cleanTarget(targetRecord(), owner, signal);
      assert.equal(requests.length, expected);
    });
  }
});

Deno.test("cleaning that fails says at what", async (t) => {
  const table: { name: string; answers: (Error | Record<string, unknown>)[]; message: string }[] = [
    {
      name: "patch",
      answers: [refused(403, "forbidden")],
      message: "failed to patch ConfigMap app/example: forbidden",
    },
    {
      name: "delete",
      answers: [{ ...target() }, refused(403, "forbidden")],
      message: "failed to delete ConfigMap app/example: forbidden",
    },
  ];
  for (const { name, answers, message } of table) {
    await t.step(name, async () => {
      const { writer } = setUp(...answers);
      await assert.rejects(writer.cleanTarget(targetRecord(), owner, signal), {
        name: "WriteError",
        message,
      });
    });
  }
});

Deno.test("status is applied to this Bundle and no successor", async (t) => {
  const { writer, shown } = setUp({});
  await writer.applyStatus({ name: "a b", uid: "u" }, { conditions: [], defaultCAVersion: "x" }, signal);
  await t.assertSnapshot(shown());
  const failing = setUp(refused(404, "not found"));
  await assert.rejects(failing.writer.applyStatus(owner, {}, signal), {
    name: "WriteError",
    message: "failed to patch status of Bundle example: not found",
  });
});

Deno.test("a replica that does not lead writes nothing", async (t) => {
  const { writer, requests, leading } = setUp();
  const writes = {
    apply: () => writer.applyTarget(content, "app", "example", signal),
    clean: () => writer.cleanTarget(targetRecord(), owner, signal),
    status: () => writer.applyStatus(owner, {}, signal),
  };
  leading.push(false, false, false);
  for (const [name, write] of Object.entries(writes)) {
    await t.step(name, () => assert.rejects(write(), NotLeadingError));
  }
  assert.deepEqual(requests, []);
});

Deno.test("a replica that loses the lead between patch and delete does not delete", async () => {
  const { writer, requests, leading } = setUp({ ...target() });
  leading.push(true, false);
  await assert.rejects(writer.cleanTarget(targetRecord(), owner, signal), NotLeadingError);
  assert.deepEqual(requests.map(({ method }) => method), ["PATCH"]);
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
