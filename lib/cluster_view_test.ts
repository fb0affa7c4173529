import assert from "node:assert/strict";
import { FakeApiServer, status } from "../tests/fake_api_server.ts";
import { FakeClock } from "../tests/fake_clock.ts";
import { ClusterView, type ClusterViewOptions } from "./cluster_view.ts";
import { FailureLog } from "./kube/failure_log.ts";
import { createLogger } from "./log.ts";

async function world(
  options: Partial<ClusterViewOptions>,
  answer: (path: string) => Error | undefined,
  prepare: (server: FakeApiServer) => void = () => {},
) {
  const clock = new FakeClock();
  const server = new FakeApiServer(clock);
  server.intercept = ({ path }) => answer(path);
  prepare(server);
  const lines: string[] = [];
  const log = createLogger({ format: "text", level: 1, write: (line) => lines.push(line), clock });
  const ignore = () => {};
  const view = new ClusterView({
    connect: () => server,
    trustNamespace: "cert-manager",
    targetNamespaces: [],
    secretTargetsEnabled: false,
    listener: {
      onBundle: ignore,
      onNamespace: ignore,
      onSource: ignore,
      onTarget: ignore,
      onListFailure: ignore,
    },
    clock,
    random: () => 0.5,
    log,
    failures: new FailureLog({ clock, log }),
    ...options,
  });
  for (const name of ["cert-manager", "a", "b"]) server.put("/api/v1/namespaces", { metadata: { name } });
  const stop = new AbortController();
  const ended = view.run(stop.signal);
  await clock.advance(5_000);
  return {
    view,
    server,
    clock,
    lines,
    async [Symbol.asyncDispose]() {
      stop.abort(new Error("The test is over"));
      await clock.advance(0);
      await ended;
      assert.equal(clock.timers, 0, "timers are left");
    },
  };
}

Deno.test("what is not synced is named, with its cause, until it is", async () => {
  const forbidden = (path: string) =>
    path.includes("/namespaces/cert-manager/secrets")
      ? status(403, "Forbidden", "secrets is forbidden")
      : path.endsWith("/bundles")
      ? status(404, "", "404 page not found")
      : undefined;
  await using it = await world({}, forbidden);
  assert.equal(
    it.view.notSynced,
    "Not all stores have synced\n" +
      "bundles: the CustomResourceDefinition bundles.trust.cert-manager.io is not installed: install it with " +
      '"kubectl apply --server-side -f deploy/crds/trust.cert-manager.io_bundles.yaml", or with the value crds.enabled=true of ' +
      "the Helm chart\n" +
      "source secrets: secrets is forbidden",
  );
  it.server.intercept = () => undefined;
  await it.clock.advance(120_000);
  assert.deepEqual([it.view.isSynced, it.view.notSynced], [true, undefined]);
});

Deno.test("of the watches of several namespaces and names, the one that fails is named", async () => {
  const options = {
    targetNamespaces: ["a", "b", "missing"],
    secretTargetsEnabled: true,
    secretTargetNames: ["one", "two"],
  };
  await using it = await world(
    options,
    (path) => /\/namespaces\/(b|missing)\/secrets/.test(path) ? status(403, "Forbidden", "no") : undefined,
  );
  assert.equal(
    it.view.notSynced,
    "Not all stores have synced\ntarget secrets one in b, target secrets two in b: no",
  );
  const failing = it.lines.filter((line) => line.includes("level=ERROR"));
  assert.equal(failing.length, 1);
  assert.match(
    failing[0] ?? "",
    /failing="target secrets one in b, target secrets one in missing, .*, target secrets two in missing"/,
  );
});

Deno.test("a list that only takes its time says so", async () => {
  await using it = await world({}, () => undefined, (server) => server.hold(/bundles/));
  assert.equal(it.view.notSynced, "Not all stores have synced\nbundles: the list is not complete yet");
  it.server.release();
  await it.clock.advance(0);
  assert.equal(it.view.notSynced, undefined);
  assert.deepEqual(it.lines, []);
});
