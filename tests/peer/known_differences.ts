import {
  type Bundle,
  BUNDLE_LABEL,
  BUNDLE_UID_ANNOTATION,
  type BundleSpec,
  type BundleTarget,
  HASH_ANNOTATION,
  LAYOUT_ANNOTATION,
} from "../../lib/api/bundle.ts";
import type { WorldRequest } from "./random_world.ts";
import type { Facts } from "./world_side.ts";

/** One thing that is not the same; undefined where it is not there at all. */
export interface Difference {
  readonly path: string;
  readonly peer: string | undefined;
  readonly ours: string | undefined;
}

/** Why a difference is none of a fault. */
export interface Explained extends Difference {
  /** The first cell of a row of `What differs` in docs/migration.md, or of what it follows from. */
  readonly row: string;
}

/** What is known when differences are judged. */
interface View {
  readonly peer: Facts;
  readonly ours: Facts;
  /** Also of Bundles that are gone. */
  readonly spec: (bundle: string) => BundleSpec | undefined;
  /** Objects that somebody has changed under the name of our field manager, such as `ConfigMap n0/a`. */
  readonly updatedUnderOurName: ReadonlySet<string>;
}

interface Rule {
  /** As in docs/migration.md. */
  readonly row: string;
  readonly explains: (difference: Difference, view: View) => boolean;
}

/** What a path is about. */
function parse(path: string): { kind: string; name: string; rest: string } {
  const [, kind = "", name = "", rest = ""] = /^(\S+) (\S+) ?(.*)$/s.exec(path) ?? [];
  return { kind, name, rest };
}

/** Of a target, an event, or a Bundle: the Bundle. */
function bundleOf(path: string): string {
  const { name } = parse(path);
  return name.slice(name.indexOf("/") + 1);
}

const isTarget = (path: string) => /^(ConfigMap|Secret) /.test(path);
const isEvent = (path: string) => path.startsWith("Event ");
const condition = (facts: Facts, bundle: string, field: string) =>
  facts.get(`Bundle ${bundle} Synced ${field}`) ?? "";
const isMessage = (path: string) => isEvent(path) || / Synced message$/.test(path);

/** Reports whether one of the project's events of that kind was told, or is it. */
function told(view: View, bundle: string, reason: string): boolean {
  return [...view.ours.keys()].some((path) =>
    new RegExp(`^Event \\S+ \\S+ ${reason} `).test(path) && bundleOf(path) === bundle
  );
}

const event = (reason: string) => ({ path, peer }: Difference) =>
  isEvent(path) && peer === undefined && parse(path).rest.split(" ")[1] === reason;

/** Whether the peer's words are the first ones of ours, and what follows matches. */
function saysMore(details: RegExp): Rule["explains"] {
  const begins = (long: string, short: string) =>
    long.startsWith(short) && details.test(long.slice(short.length));
  return ({ path, peer, ours }, view) => {
    if (!isEvent(path)) return isMessage(path) && begins(ours ?? "", peer ?? "-");
    // Events of before a take-over are not shown, so that the condition has to tell what the other side would say.
    const note = path.slice(path.indexOf(": ") + 2);
    const other = condition(peer === undefined ? view.peer : view.ours, bundleOf(path), "message");
    if (other !== "" && (peer === undefined ? begins(note, other) : begins(other, note))) return true;
    const others = [...(peer === undefined ? view.peer : view.ours).keys()];
    return peer === undefined
      ? others.some((other) => begins(path, other))
      : others.some((other) => begins(other, path));
  };
}

/** The first cause that a condition or an event of failed sources tells. */
function causeOf(text: string): string {
  return text.split(/Bundle source was not found: |Failed to build bundle sources: /)[1] ?? "";
}

/** All of them. */
function causesOf(text: string): string[] {
  return causeOf(text).split(/; also |; (?=no data|no default|failed|invalid|inline|include)/).filter((
    cause,
  ) => cause !== "");
}

/** Whether a field of a target is what the Bundle asks for, as far as its form tells. */
function isRight(path: string, value: string | undefined, target: BundleTarget | undefined): boolean {
  const { kind, rest } = parse(path);
  const [map = "", key = ""] = rest.split(" ");
  const template = kind === "Secret" ? target?.secret : target?.configMap;
  if (map === "label") return value === template?.metadata?.labels?.[key];
  if (map === "annotation") return value === template?.metadata?.annotations?.[key];
  const { jks, pkcs12 } = target?.additionalFormats ?? {};
  const isBinary = kind === "Secret" || map === "binaryData";
  if (key === template?.key && (kind === "Secret" || map === "data")) {
    return /^(<|-----BEGIN C)/.test(value ?? "");
  }
  if (isBinary && key === jks?.key) return value?.startsWith("bytes /u3+7Q") ?? false;
  if (isBinary && key === pkcs12?.key) return /^(PKCS#12|DER) /.test(value ?? "");
  return value === undefined;
}

/** Whether the peer gives up at the first target that it cannot write. Its events tell that for ever, so they are explained for ever, too. */
function failsAtTarget({ peer }: View, path: string): boolean {
  const bundle = bundleOf(path);
  return /^Sync.*TargetFailed$/.test(condition(peer, bundle, "reason")) ||
    isEvent(path) &&
      [...peer.keys()].some((other) =>
        isEvent(other) && bundleOf(other) === bundle && / Sync\w+TargetFailed /.test(other)
      );
}

const RULES: readonly Rule[] = [
  // Of one thing alone.
  { row: "a source that gives no certificate, or not all in it", explains: event("EmptySource") },
  { row: "a pool that loses certificates", explains: event("CertificatesRemoved") },
  { row: "a key store's password that Java cannot take", explains: event("KeyStoreNotForJava") },
  { row: "a target that somebody else keeps changing", explains: event("TargetContested") },
  { row: "a selector that matches targets of Bundles", explains: event("TargetSelected") },
  { row: "a stored Bundle that admission would refuse now", explains: event("InvalidBundle") },
  { row: "a Bundle that selects or names its own target", explains: event("OwnTargetAsSource") },
  { row: "Bundles that read each other's targets in a cycle", explains: event("SourceCycle") },
  { row: "no certificate is left, or several sources are in error", explains: saysMore(/^(: |; also )/) },
  {
    // Which of several objects that a selector finds comes first, is random there.
    row: "no certificate is left, or several sources are in error",
    explains: ({ path, peer, ours }, view) => {
      const cause = causeOf(peer === "told" ? path : peer ?? "");
      const message = ours ?? condition(view.ours, bundleOf(path), "message");
      if (isEvent(path) && peer === undefined) {
        return causesOf(path).some((one) => [...view.peer.keys()].some((other) => causeOf(other) === one));
      }
      return isMessage(path) && (causesOf(message).includes(cause) ||
        [...view.ours.keys()].some((other) => isEvent(other) && causesOf(other).includes(cause)));
    },
  },
  { row: "a namespace that fails", explains: saysMore(/^ \(and \d+ more\)$/) },
  {
    row: "a PEM label in a message",
    explains: ({ path }, view) =>
      isMessage(path) && /only CERTIFICATE blocks are permitted but found '[^']*…'/.test(
        isEvent(path)
          ? [...view.ours.keys()].filter(isEvent).join()
          : condition(view.ours, bundleOf(path), "message"),
      ),
  },
  {
    row: "a bad stored selector",
    explains: ({ path }, view) =>
      /^Bundle /.test(path) && condition(view.ours, bundleOf(path), "reason") === "NamespaceSelectorError",
  },
  {
    row: "a change of the Bundle that leaves hash and set of keys equal",
    explains: ({ path, peer }) => path.endsWith(` annotation ${LAYOUT_ANNOTATION}`) && peer === undefined,
  },
  {
    row: "a target that holds data of others",
    explains: ({ path, peer }) => path.endsWith(` annotation ${BUNDLE_UID_ANNOTATION}`) && peer === undefined,
  },
  {
    row: "a target that holds data of others",
    explains: ({ path, ours }, view) =>
      isTarget(path) && path.endsWith(" owners") && !/controller, blocks/.test(ours ?? "") &&
      view.ours.has(path.replace(/ owners$/, ` annotation ${BUNDLE_UID_ANNOTATION}`)),
  },
  {
    // After a take-over, until the sources of the Bundle can be read.
    row: "a target that holds data of others",
    explains: ({ path }, view) => {
      const { kind, name, rest } = parse(path);
      const uid = `annotation ${BUNDLE_UID_ANNOTATION}`;
      return isTarget(path) && (rest === "owners" || rest === uid) &&
        view.peer.has(`${kind} ${name} ${uid}`) &&
        condition(view.ours, bundleOf(path), "status") !== "True";
    },
  },
  {
    row: "labels and annotations of a target edited by others",
    explains: ({ path, ours }, view) => {
      const { name, kind, rest } = parse(path);
      return isTarget(path) && view.peer.has(`${kind} ${name}`) && /^(label|annotation) /.test(rest) &&
        ours !== undefined && isRight(path, ours, view.spec(bundleOf(path))?.target);
    },
  },
  // Of all that a Bundle writes.
  {
    row: "a Bundle that selects or names its own target",
    explains: ({ path }, view) => told(view, bundleOf(path), "OwnTargetAsSource"),
  },
  {
    row: "Bundles that read each other's targets in a cycle",
    explains: ({ path }, view) => told(view, bundleOf(path), "SourceCycle"),
  },
  {
    row: "a PKCS#12 password, or a certificate's subject in a PKCS#12 store, with characters beyond the BMP",
    explains: ({ path }, view) =>
      /[\ud800-\udfff]/.test(view.spec(bundleOf(path))?.target?.additionalFormats?.pkcs12?.password ?? ""),
  },
  {
    row: "a Bundle that no namespace can hold a target of",
    explains: ({ path }, view) =>
      /to any namespace: (spec|metadata)\./.test(condition(view.ours, bundleOf(path), "message")),
  },
  {
    row: "a key store whose key is none, or is that of the PEM",
    explains: ({ path }, view) =>
      /to any namespace in full: spec\./.test(condition(view.ours, bundleOf(path), "message")),
  },
  {
    row: "a namespace that fails",
    explains: ({ path }, view) => failsAtTarget(view, path),
  },
  // Of one target.
  {
    row: "labels and annotations of the operator's own in `metadata`",
    explains: ({ path }, view) => {
      const { kind, rest } = parse(path);
      const target = view.spec(bundleOf(path))?.target;
      const { labels, annotations } = (kind === "Secret" ? target?.secret : target?.configMap)?.metadata ??
        {};
      const isOwn = (key: string) => key.startsWith("trust.cert-manager.io/") && rest === `annotation ${key}`;
      return isTarget(path) &&
        (labels?.[BUNDLE_LABEL] !== undefined || Object.keys(annotations ?? {}).some(isOwn));
    },
  },
  {
    row: "fields updated under the name `trust-manager`",
    explains: ({ path }, view) => {
      const { kind, name } = parse(path);
      return view.updatedUnderOurName.has(`${kind} ${name}`);
    },
  },
  {
    row: "a change of the Bundle that leaves hash and set of keys equal",
    explains: ({ path, ours }, view) => {
      const { kind, name } = parse(path);
      const hash = `${kind} ${name} annotation ${HASH_ANNOTATION}`;
      return isTarget(path) && view.peer.has(hash) && view.peer.get(hash) === view.ours.get(hash) &&
        isRight(path, ours, view.spec(bundleOf(path))?.target);
    },
  },
  {
    row: "a stale target that holds data of others",
    explains: ({ path }, view) => {
      const { kind, name } = parse(path);
      const label = `${kind} ${name} label ${BUNDLE_LABEL}`;
      return isTarget(path) && view.peer.get(label) === bundleOf(path) && !view.ours.has(label) &&
        view.ours.has(`${kind} ${name}`);
    },
  },
  {
    row: "a target that holds data of others",
    explains: ({ path }, view) => {
      const { kind, name } = parse(path);
      return isTarget(path) && view.ours.has(`${kind} ${name}`) && !view.peer.has(`${kind} ${name}`) &&
        !view.ours.has(`${kind} ${name} label ${BUNDLE_LABEL}`);
    },
  },
];

/** The rows of docs/migration.md that differences may be of. */
export const KNOWN_ROWS: readonly string[] = [...new Set(RULES.map(({ row }) => row))];

/** Judges the differences of one world, step by step: which are known, and which are not. */
export class DifferenceJudge {
  readonly #specs = new Map<string, BundleSpec>();
  readonly #updatedUnderOurName = new Set<string>();
  /** Objects that differed for a known reason, and have differed since. */
  #tainted = new Map<string, string>();

  /** Is told of each request that is made. */
  requested({ path, body }: WorldRequest): void {
    const bundle = /\/bundles\/([^/?]+)/.exec(path)?.[1];
    if (bundle !== undefined && body !== undefined) {
      const { spec }: Partial<Bundle> = Object(body);
      if (spec !== undefined) this.#specs.set(bundle, spec);
    }
    if (!path.includes("fieldManager=trust-manager")) return;
    const [, namespace, resource, name = String(Object(Object(body)["metadata"])["name"])] =
      /\/namespaces\/([^/]+)\/(configmaps|secrets)(?:\/([^?]+))?/.exec(path) ?? [];
    this.#updatedUnderOurName.add(`${resource === "secrets" ? "Secret" : "ConfigMap"} ${namespace}/${name}`);
  }

  /** @returns what is known, and what is not, of all that differs now. */
  judge(peer: Facts, ours: Facts): { known: Explained[]; unknown: Difference[] } {
    const view: View = {
      peer,
      ours,
      spec: (name) => this.#specs.get(name),
      updatedUnderOurName: this.#updatedUnderOurName,
    };
    const known: Explained[] = [];
    let open: Difference[] = [];
    const tainted = new Map<string, string>();
    for (const path of new Set([...peer.keys(), ...ours.keys()])) {
      const difference = { path, peer: peer.get(path), ours: ours.get(path) };
      if (difference.peer === difference.ours) continue;
      const row = RULES.find(({ explains }) => explains(difference, view))?.row;
      if (row === undefined) open.push(difference);
      else {
        known.push({ ...difference, row });
        if (isTarget(path)) tainted.set(objectOf(path), row);
      }
    }
    const follows = (difference: Difference): string | undefined => {
      const { path } = difference;
      if (isTarget(path)) return tainted.get(objectOf(path)) ?? this.#tainted.get(objectOf(path));
      // Who reads another's target has other certificates if that has.
      const spec = this.#specs.get(bundleOf(path));
      for (const [object, row] of tainted) {
        const { kind, name } = parse(object);
        if (!name.startsWith("cert-manager/")) continue;
        const reads = (spec?.sources ?? []).some(({ configMap, secret }) => {
          const source = kind === "Secret" ? secret : configMap;
          return source?.selector !== undefined || source?.name === bundleOf(object);
        });
        if (reads) return row;
      }
      return undefined;
    };
    const unknown = open.filter((difference) => {
      const row = follows(difference);
      if (row === undefined) return true;
      known.push({ ...difference, row: `${row} (follows)` });
      if (isTarget(difference.path)) tainted.set(objectOf(difference.path), row);
      return false;
    });
    open = [];
    this.#tainted = tainted;
    return { known, unknown };
  }

  /**
   * The targets that a take-over must not write: those of Bundles that are in sync on both sides, and that are the same on both, but for what
   * is added only when a target is written anyway.
   */
  alike(peer: Facts, ours: Facts): Set<string> {
    const differing = new Set<string>();
    for (const path of new Set([...peer.keys(), ...ours.keys()])) {
      if (peer.get(path) !== ours.get(path) && !path.endsWith(` annotation ${LAYOUT_ANNOTATION}`)) {
        differing.add(objectOf(path));
      }
    }
    const isSynced = (facts: Facts, path: string) => condition(facts, bundleOf(path), "status") === "True";
    return new Set(
      [...ours.keys()].filter((path) =>
        isTarget(path) && path === objectOf(path) && !differing.has(path) && isSynced(peer, path) &&
        isSynced(ours, path)
      ),
    );
  }

  /** Whether an answer of the API server may differ, since the object does. */
  mayAnswerDiffer({ path }: WorldRequest): boolean {
    const [, namespace, resource] = /\/namespaces\/([^/]+)\/(configmaps|secrets)/.exec(path) ?? [];
    const object = `${resource === "secrets" ? "Secret" : "ConfigMap"} ${namespace}/`;
    return [...this.#tainted.keys()].some((tainted) => tainted.startsWith(object));
  }
}

function objectOf(path: string): string {
  const { kind, name } = parse(path);
  return `${kind} ${name}`;
}
