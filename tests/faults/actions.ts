import type { TargetKind, TargetTemplate } from "../../lib/api/bundle.ts";
import { pemBlock } from "../builders.ts";
import {
  type CertificateSet,
  idText,
  KINDS,
  type ModelPackage,
  type ModelSource,
  type ModelSpec,
  type Selector,
  type SoakModel,
  type SourceState,
  type TargetId,
  type Value,
} from "./model.ts";

/** Names of all Bundles that there may be. */
export const BUNDLES: readonly string[] = ["b-0", "b-1", "b-2", "b-3", "b-4", "b-5", "b-6", "b-7"];

/** How many namespaces of its own there are at most, those that terminate among them. */
const MAX_NAMESPACES = 12;

/** The sources that there may be. */
export const SOURCES: readonly {
  readonly kind: TargetKind;
  readonly name: string;
  readonly isTls: boolean;
}[] = [
  ...["map-0", "map-1", "map-2", "map-3", "map-4", "map-5"].map((name) => ({
    kind: "ConfigMap" as const,
    name,
    isTls: false,
  })),
  { kind: "Secret", name: "secret-0", isTls: false },
  { kind: "Secret", name: "secret-1", isTls: false },
  { kind: "Secret", name: "secret-2", isTls: false },
  { kind: "Secret", name: "pair-0", isTls: true },
];

/**
 * How often one target is attacked at most: each time, the operator takes longer to repair it (ADR 8), which is right and only costs time
 * here.
 */
const MAX_ATTACKS = 8;

/** What others do to a target. `squat` is to be there first, with an object of that name. */
export const ATTACKS = [
  "edit key",
  "remove keys",
  "remove all data",
  "add foreign key",
  "remove foreign key",
  "delete",
  "remove owners",
  "change label",
  "remove label",
  "change hash",
  "remove hash",
  "replace",
  "squat",
  "edit key under our name",
  "add key under our name",
] as const;
export type Attack = typeof ATTACKS[number];

/** What stands in all private keys here: in plain text, and as their PEM has it. */
const PLANTED = "planted";
export const PLANTED_MARKS: readonly string[] = [PLANTED, btoa(PLANTED).slice(0, 8)];

/** Which of the two replicas of the operator. */
export type Replica = 0 | 1;

/** One thing that happens. */
export type Action =
  | {
    readonly type: "put source";
    readonly kind: TargetKind;
    readonly name: string;
    readonly state: SourceState;
  }
  | { readonly type: "delete source"; readonly kind: TargetKind; readonly name: string }
  | { readonly type: "put Bundle" | "replace Bundle"; readonly name: string; readonly spec: ModelSpec }
  | { readonly type: "delete Bundle"; readonly name: string }
  | {
    readonly type: "create namespace" | "relabel namespace" | "replace namespace";
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  }
  /** `hold`: something in it has a finalizer, so that it terminates until it is released. */
  | { readonly type: "delete namespace"; readonly name: string; readonly hold: boolean }
  | { readonly type: "release namespace"; readonly name: string }
  /** `by` is what the attacker's values are marked with. */
  | {
    readonly type: "attack target";
    readonly attack: Attack;
    readonly target: TargetId;
    readonly by: string;
  }
  | { readonly type: "change default package"; readonly defaultPackage: ModelPackage }
  | { readonly type: "faults on"; readonly rate: number }
  | { readonly type: "faults off" | "break connections" }
  /** For as long as so many further actions take. */
  | { readonly type: "partition"; readonly actions: number }
  | {
    readonly type: "signal";
    readonly replica: Replica;
    readonly signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT";
  };

/** A selector of which a test knows what it means. */
function selector(
  spec: Selector["spec"],
  text: string,
  matches: (labels: Readonly<Record<string, string>>) => boolean,
): Selector {
  return { spec, text, matches };
}

const NAMESPACE_SELECTORS: readonly Selector[] = [
  selector({ matchLabels: { team: "x" } }, "team=x", ({ team }) => team === "x"),
  selector(
    { matchExpressions: [{ key: "team", operator: "In", values: ["y", "x"] }] },
    "team in (x,y)",
    ({ team }) => team === "x" || team === "y",
  ),
  selector(
    { matchExpressions: [{ key: "tier", operator: "Exists" }] },
    "tier",
    ({ tier }) => tier !== undefined,
  ),
  selector(
    { matchLabels: { tier: "1" }, matchExpressions: [{ key: "team", operator: "NotIn", values: ["y"] }] },
    "team notin (y),tier=1",
    ({ team, tier }) => team !== "y" && tier === "1",
  ),
  selector(
    { matchExpressions: [{ key: "team", operator: "DoesNotExist" }] },
    "!team",
    ({ team }) => team === undefined,
  ),
  selector({ matchLabels: { team: "nobody" } }, "team=nobody", () => false),
];

const SOURCE_SELECTORS: readonly Selector[] = [
  selector({ matchLabels: { set: "a" } }, "set=a", ({ set }) => set === "a"),
  selector(
    { matchExpressions: [{ key: "set", operator: "In", values: ["a", "b"] }] },
    "set in (a,b)",
    ({ set }) => set === "a" || set === "b",
  ),
  selector(
    { matchExpressions: [{ key: "set", operator: "Exists" }] },
    "set",
    ({ set }) => set !== undefined,
  ),
];

const NAMESPACE_LABELS: readonly Readonly<Record<string, string>>[] = [
  {},
  { team: "x" },
  { team: "y" },
  { team: "x", tier: "1" },
  { tier: "1" },
  { tier: "2", team: "z" },
];

const CHANGES: Readonly<Record<string, number>> = {
  "put source": 14,
  "delete source": 4,
  "put Bundle": 8,
  "delete Bundle": 1,
  "replace Bundle": 2,
  "create namespace": 5,
  "relabel namespace": 7,
  "delete namespace": 2,
  "release namespace": 1,
  "replace namespace": 1,
};

const CONNECTION_FAULTS: Readonly<Record<string, number>> = {
  "faults on": 8,
  "faults off": 1,
  "break connections": 6,
};

/**
 * The kinds of rounds: how many actions, and how often each happens in comparison with the others. Not everything happens in every round,
 * because one thing hides another: a replica that starts looks at everything anew, and a change of a source rewrites a target that
 * was not repaired.
 */
const ROUNDS = {
  /** Everything. */
  "all": {
    actions: 150,
    weights: {
      ...CHANGES,
      ...CONNECTION_FAULTS,
      "attack target": 20,
      "partition": 2,
      "signal": 5,
      "change default package": 1,
    },
  },
  /** Others edit targets. */
  "targets": { actions: 40, weights: { "attack target": 30, "relabel namespace": 1 } },
  /** A handful: what does not come of one change is not repaired by the next. */
  "few": { actions: 5, weights: { ...CHANGES, "attack target": 15 } },
  /** The same, while connections fail: what fails is not repaired by the next change either. */
  "few and faults": { actions: 15, weights: { ...CHANGES, ...CONNECTION_FAULTS, "attack target": 8 } },
  /** Users change what is wanted. */
  "changes": { actions: 50, weights: CHANGES },
  /** Connections fail, and no replica loses the lease. */
  "connections": { actions: 80, weights: { ...CHANGES, ...CONNECTION_FAULTS, "attack target": 8 } },
} satisfies Record<string, { actions: number; weights: Readonly<Record<string, number>> }>;

/** What a round is like. */
export type RoundKind = keyof typeof ROUNDS;

/**
 * Thinks of things that may happen, from a random number generator and what it has made happen so far, and from nothing else: the same
 * seed gives the same actions, whatever the cluster makes of them. The model must be told of each before the next.
 */
export class ActionSource {
  readonly #random: () => number;
  readonly #model: SoakModel;
  #types: readonly string[] = [];
  #first: string | undefined;
  readonly #rounds: RoundKind[] = [];
  readonly #held = new Set<string>();
  readonly #attacks = new Map<string, number>();
  readonly #frozen = new Set<Replica>();
  #namespaces = 0;
  #packages = 0;
  #marks = 0;
  #planted = 0;

  constructor(random: () => number, model: SoakModel) {
    this.#random = random;
    this.#model = model;
  }

  /** How many private keys were put among certificates. */
  get planted(): number {
    return this.#planted;
  }

  /** What there is in the beginning. */
  *beginning(): Generator<Action> {
    for (const { kind, name, isTls } of SOURCES) {
      yield { type: "put source", kind, name, state: this.#sourceState(isTls) };
    }
    for (let i = 0; i < MAX_NAMESPACES / 2; i++) yield this.#createNamespace();
    for (const name of BUNDLES) yield { type: "put Bundle", name, spec: this.#spec() };
  }

  /**
   * Begins a round: in turn, in random order, one of each kind, with a handful of actions after each.
   *
   * @param steady only of kinds in which no replica ends.
   * @returns how many actions it has.
   */
  beginRound(steady = false): { readonly kind: RoundKind; readonly actions: number } {
    if (this.#rounds.length === 0) {
      const kinds: RoundKind[] = ["targets", "changes", "connections", ...(steady ? [] : ["all" as const])];
      while (kinds.length > 0) {
        const [kind] = kinds.splice(Math.floor(this.#random() * kinds.length), 1);
        if (kind !== undefined) this.#rounds.push(kind, "few", "few and faults");
      }
    }
    const kind = this.#rounds.shift() ?? "few";
    const { actions, weights } = ROUNDS[kind];
    this.#types = Object.entries(weights).flatMap(([type, weight]) => Array(weight).fill(type));
    // So that it does not come too late.
    this.#first = "faults on" in weights ? "faults on" : undefined;
    return { kind, actions };
  }

  /** The next thing of the round. */
  next(): Action {
    while (true) {
      const action = this.#make(this.#first ?? this.#pick(this.#types));
      this.#first = undefined;
      if (action !== undefined) return action;
    }
  }

  /** How long to wait after it, in milliseconds. */
  pauseMs(): number {
    return this.#random() < 0.3 ? 0 : this.#random() * 400;
  }

  /** Whether something happens that is to happen as often. */
  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  /** All that was stopped goes on. */
  thaw(): void {
    this.#frozen.clear();
  }

  #make(type: string): Action | undefined {
    switch (type) {
      case "put source": {
        const { kind, name, isTls } = this.#pick(SOURCES);
        return { type, kind, name, state: this.#sourceState(isTls) };
      }
      case "delete source": {
        const { kind, name } = this.#pick(SOURCES);
        return this.#model.source(kind, name) === undefined ? undefined : { type, kind, name };
      }
      case "put Bundle":
        return { type, name: this.#pick(BUNDLES), spec: this.#spec() };
      case "delete Bundle":
      case "replace Bundle": {
        const name = this.#pick(BUNDLES);
        if (this.#model.bundle(name) === undefined) return undefined;
        return type === "delete Bundle" ? { type, name } : { type, name, spec: this.#spec() };
      }
      case "create namespace":
        return this.#ownNamespaces().length < MAX_NAMESPACES ? this.#createNamespace() : undefined;
      case "relabel namespace":
      case "replace namespace": {
        const name = this.#pickOr(this.#livingNamespaces());
        return name === undefined ? undefined : { type, name, labels: this.#pick(NAMESPACE_LABELS) };
      }
      case "delete namespace": {
        const name = this.#pickOr(this.#livingNamespaces());
        if (name === undefined) return undefined;
        const hold = this.#held.size < 2 && this.#random() < 0.4;
        if (hold) this.#held.add(name);
        return { type, name, hold };
      }
      case "release namespace": {
        const name = this.#pickOr([...this.#held]);
        if (name === undefined) return undefined;
        this.#held.delete(name);
        return { type, name };
      }
      case "attack target":
        return this.#attack();
      case "change default package":
        return {
          type,
          defaultPackage: { version: `${++this.#packages}`, certificates: this.#certificates(0.3) || 1 },
        };
      case "faults on":
        return { type, rate: this.#pick([0.1, 0.3, 0.6]) };
      case "faults off":
      case "break connections":
        return { type };
      case "partition":
        return { type, actions: this.#pick([2, 10, 40]) };
      case "signal": {
        const replica = this.#pick([0, 1] as const);
        if (this.#frozen.delete(replica)) return { type, replica, signal: "SIGCONT" };
        const signal = this.#pick(["SIGKILL", "SIGKILL", "SIGTERM", "SIGSTOP", "SIGSTOP"] as const);
        if (signal === "SIGSTOP") this.#frozen.add(replica);
        return { type, replica, signal };
      }
      default:
        throw new TypeError(`There is no action ${type}`);
    }
  }

  #createNamespace(): Action {
    const name = `n-${this.#namespaces++}`;
    return { type: "create namespace", name, labels: this.#pick(NAMESPACE_LABELS) };
  }

  #attack(): Action | undefined {
    // Mostly those that are wanted; now and then any other.
    const wanted = this.#model.wantedTargets();
    const any = (): TargetId => ({
      kind: this.#pick(KINDS),
      namespace: this.#pick([...this.#model.namespaces.keys()].sort()),
      name: this.#pick(BUNDLES),
    });
    const target = this.#random() < 0.2 ? any() : this.#pickOr(wanted);
    if (target === undefined) return undefined;
    const count = (this.#attacks.get(idText(target)) ?? 0) + 1;
    if (count > MAX_ATTACKS) return undefined;
    this.#attacks.set(idText(target), count);
    return { type: "attack target", attack: this.#pick(ATTACKS), target, by: `theirs-${++this.#marks}` };
  }

  #ownNamespaces(): string[] {
    return [...this.#model.namespaces.keys()].filter((name) => name.startsWith("n-")).sort();
  }

  #livingNamespaces(): string[] {
    return this.#ownNamespaces().filter((name) => this.#model.namespaces.get(name)?.terminating === false);
  }

  #sourceState(isTls: boolean): SourceState {
    const labels = this.#pick(isTls ? [{}, { set: "c" }] : [{}, { set: "a" }, { set: "b" }, { set: "c" }]);
    // A Secret of that type must have both.
    const keys = isTls ? ["tls.crt", "tls.key"] : ["one", "two"].filter(() => this.#random() < 0.95);
    const values = keys.map((key) => [key, key === "tls.key" ? this.#privateKey() : this.#value()] as const);
    const binary = !isTls && this.#random() < 0.1;
    return { labels, isTls, binary, values: Object.fromEntries(values) };
  }

  #certificates(probability = 0.3): CertificateSet {
    return this.#model.setOf(this.#model.certificates.filter(() => this.#random() < probability));
  }

  #value(): Value {
    const certificates = this.#certificates();
    const pem = this.#model.pem(certificates);
    const kind = this.#random();
    if (kind < 0.86) return { text: `${pem}\n`, certificates };
    if (kind < 0.88) return { text: "", certificates: 0 };
    if (kind < 0.9) return { text: `# Some roots\r\n${pem.replaceAll("\n", "\r\n")}\r\n`, certificates };
    if (kind < 0.92) return { text: `Issuer: somebody\n${pem}\nno PEM at all\n`, certificates };
    if (kind < 0.94) {
      const whole = this.#privateKey().text;
      const half = whole.slice(0, whole.indexOf("-----END"));
      return { text: `${pem}\n${half}`, certificates }; // no block, and so passed over
    }
    if (kind < 0.96) {
      return {
        text: `${pem}\n${pemBlock("CERTIFICATE", "nonsense")}`,
        certificates,
        refusal: "invalid PEM block in bundle; invalid PEM certificate: ",
      };
    }
    if (kind < 0.98) {
      return {
        text: `${pem}\n${pemBlock("CERTIFICATE", "nonsense", "Proc-Type: 4,ENCRYPTED\n\n")}`,
        certificates,
        refusal: "invalid PEM block in bundle; blocks are not permitted to have PEM headers",
      };
    }
    const key = this.#privateKey();
    return { ...key, text: `${pem}\n${key.text}`, certificates };
  }

  #privateKey(): Value {
    return {
      text: pemBlock("PRIVATE KEY", `${PLANTED}-${this.#planted++}`),
      certificates: 0,
      refusal: "invalid PEM block in bundle: only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'",
    };
  }

  #spec(): ModelSpec {
    const sources = Array.from({ length: 1 + Math.floor(this.#random() * 3) }, () => this.#source());
    // The default CAs at most once, as admission wants it.
    if (this.#random() < 0.3) sources.push({ type: "default CAs", use: this.#random() < 0.8 });
    if (this.#random() < 0.05) return { sources };
    const [configMap, secret] = [this.#template(), this.#template()];
    const which = this.#random();
    const namespaceSelector = this.#random() < 0.15 ? undefined : this.#pick(NAMESPACE_SELECTORS);
    return {
      sources,
      target: {
        ...(which < 0.75 ? { configMap } : {}),
        ...(which > 0.55 ? { secret } : {}),
        ...(this.#random() < 0.3 ? { additionalFormats: this.#formats() } : {}),
        ...(namespaceSelector === undefined ? {} : { selector: namespaceSelector }),
      },
    };
  }

  #source(): ModelSource {
    const kind = this.#pick(KINDS);
    const random = this.#random();
    if (random < 0.25) {
      const value = this.#value();
      return { type: "inLine", value: value.text === "" ? { text: "none", certificates: 0 } : value };
    }
    const key = this.#random() < 0.4 ? {} : { key: this.#pick(["one", "two"]) };
    if (random < 0.45) return { type: "selected", kind, selector: this.#pick(SOURCE_SELECTORS), ...key };
    const { name, isTls } = this.#pick(SOURCES.filter((source) => source.kind === kind));
    return { type: "named", kind, name, ...(isTls && this.#random() < 0.9 ? { key: "tls.crt" } : key) };
  }

  #template(): TargetTemplate {
    const key = this.#pick(["ca.crt", "trust.pem"]);
    if (this.#random() < 0.7) return { key };
    const labels = { color: this.#pick(["red", "blue"]) };
    const annotations = { "example.com/b": "1", "example.com/a": this.#pick(["x", "y"]) };
    return {
      key,
      metadata: this.#pick([
        { labels },
        { annotations },
        { labels, annotations },
        // What the hash cannot tell apart.
        { annotations: labels },
        { labels: { a: "bc" } },
        { labels: { ab: "c" } },
      ]),
    };
  }

  /** Key stores that share keys and joined passwords, so that a target's hash may stay while its bytes change. */
  #formats() {
    const [first = "", second = ""] = this.#pick([["store.jks", "store.p12"], ["store.p12", "store.jks"]]);
    const [ofJks, ofPkcs12] = this.#pick([
      [undefined, undefined],
      ["soak-soak", "soak-soak"],
      ["soak-soak1", "soak-2"],
      ["soak-soak", "1soak-2"],
    ]);
    const profile = this.#pick([undefined, "LegacyRC2", "LegacyDES", "Modern2023"] as const);
    const jks = { key: first, ...(ofJks === undefined ? {} : { password: ofJks }) };
    const pkcs12 = (key: string) => ({
      key,
      ...(ofPkcs12 === undefined ? {} : { password: ofPkcs12 }),
      ...(profile === undefined ? {} : { profile }),
    });
    return this.#pick([{ jks }, { pkcs12: pkcs12(first) }, { jks, pkcs12: pkcs12(second) }]);
  }

  #pick<T>(things: readonly T[]): T {
    const thing = this.#pickOr(things);
    if (thing === undefined) {
      // A place for "no value" among others.
      if (things.length > 0) return thing as T;
      throw new TypeError("There is nothing to pick");
    }
    return thing;
  }

  #pickOr<T>(things: readonly T[]): T | undefined {
    return things[Math.floor(this.#random() * things.length)];
  }
}

/** What an action is about, in words: one line. */
export function actionText(action: Action): string {
  switch (action.type) {
    case "put source": {
      const { kind, name, state: { labels, values } } = action;
      const keys = Object.entries(values).map(([key, { certificates, refusal, text }]) =>
        `${key}=${refusal === undefined ? "" : "refused "}${certificates.toString(2)}${
          text === "" ? " empty" : ""
        }`
      );
      return `put ${kind} ${name} ${JSON.stringify(labels)} ${keys.join(", ")}`;
    }
    case "delete source":
      return `delete ${action.kind} ${action.name}`;
    case "put Bundle":
    case "replace Bundle":
      return `${action.type} ${action.name} ${specText(action.spec)}`;
    case "create namespace":
    case "relabel namespace":
    case "replace namespace":
      return `${action.type} ${action.name} ${JSON.stringify(action.labels)}`;
    case "delete namespace":
      return `delete namespace ${action.name}${action.hold ? " and hold it" : ""}`;
    case "attack target":
      return `attack ${idText(action.target)}: ${action.attack}`;
    case "change default package": {
      const { version, certificates } = action.defaultPackage;
      return `default package ${version} ${certificates.toString(2)}`;
    }
    case "faults on":
      return `faults on, rate ${action.rate}`;
    case "partition":
      return `partition for ${action.actions} actions`;
    case "signal":
      return `${action.signal} to replica ${action.replica}`;
    default:
      return "name" in action ? `${action.type} ${action.name}` : action.type;
  }
}

function specText({ sources, target }: ModelSpec): string {
  const parts = sources.map((source) => {
    switch (source.type) {
      case "inLine":
        return `inLine ${source.value.refusal === undefined ? "" : "refused "}${
          source.value.certificates.toString(2)
        }`;
      case "default CAs":
        return `default CAs ${source.use}`;
      default: {
        const which = source.type === "named" ? source.name : `(${source.selector.text})`;
        return `${source.kind} ${which} ${source.key ?? "all keys"}`;
      }
    }
  });
  const { selector, ...rest } = target ?? {};
  return `of ${parts.join("; ")} to ${target === undefined ? "nothing" : JSON.stringify(rest)} where ${
    selector?.text ?? "all"
  }`;
}

/** Whether an action may have to do with a Bundle or a namespace: to be shown when something is wrong there. */
export function concerns(
  action: Action,
  where: { readonly bundle?: string; readonly namespace?: string },
): boolean {
  switch (action.type) {
    case "put Bundle":
    case "replace Bundle":
    case "delete Bundle":
      return action.name === where.bundle;
    case "create namespace":
    case "relabel namespace":
    case "replace namespace":
    case "delete namespace":
    case "release namespace":
      return where.namespace === undefined || action.name === where.namespace;
    case "attack target":
      return action.target.name === where.bundle &&
        (where.namespace === undefined || action.target.namespace === where.namespace);
    default:
      return true;
  }
}
