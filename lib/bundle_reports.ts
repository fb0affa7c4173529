import type { TargetKind } from "./api/bundle.ts";
import { subjectOf } from "./certs/subject.ts";
import type { EventInput } from "./kube/event_recorder.ts";
import { passwordNotices } from "./key_stores.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { BundleRecord } from "./records/bundle_record.ts";
import type { Resolution } from "./resolve.ts";
import { brief } from "./source_details.ts";
import type { NoticeReason, SourceNotice } from "./sources.ts";
import type { DesiredStatus } from "./status.ts";

/** What the events of notices say around the details. */
const NOTICE_EVENTS: Readonly<Record<NoticeReason, { readonly says: string; readonly advice: string }>> = {
  EmptySource: { says: "Sources give no certificate, or less than is in them", advice: "" },
  OwnTargetAsSource: {
    says: "A Bundle is no source of itself",
    advice: ". Take it out of the sources, or select by a label that targets do not have",
  },
  TargetSelected: {
    says: "Sources should not be targets",
    advice: ". Name the sources, or select by a label that targets do not have",
  },
  SourceCycle: {
    says: "None of them is read, but all other sources of these Bundles",
    advice: ". Take one of the sources out",
  },
};

function identityOf({ message, detail, fields }: SourceNotice): string {
  return JSON.stringify([message, detail, fields]);
}

/** Whom reports go to. */
export interface ReportSinks {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Takes an event about a Bundle; never fails. */
  readonly recordEvent: (event: EventInput) => void;
}

/** What people are told of Bundles: by events, by the log, and by a metric where something can be counted. */
export class BundleReports {
  readonly #sinks: ReportSinks;

  constructor(sinks: ReportSinks) {
    this.#sinks = sinks;
  }

  /** Namespaces or targets cannot be listed: the Bundle goes on with what is known, which may be out of date. */
  listFailed(bundle: BundleRecord, kind: "Namespace" | TargetKind, cause: string): void {
    this.#record(bundle, {
      type: "Warning",
      reason: `${kind}ListError`,
      action: "SyncFailed",
      note: `Failed to list ${kind.toLowerCase()}s: ${cause}`,
    });
  }

  /**
   * What is odd about the sources, and was not told before: each in the log, and those of one kind in one event.
   *
   * @param told what was so at the last pass; undefined at first.
   */
  noticed(bundle: BundleRecord, notices: readonly SourceNotice[], told: readonly SourceNotice[] = []): void {
    const former = new Set(told.map(identityOf));
    const news = notices.filter((notice) => !former.has(identityOf(notice)));
    const details = new Map<NoticeReason, string[]>();
    for (const { message, fields, detail, event } of news) {
      this.#sinks.log.info(message, { bundle: bundle.name, ...fields });
      if (event !== undefined) details.getOrInsertComputed(event, () => []).push(detail);
    }
    for (const [reason, texts] of details) {
      const { says, advice } = NOTICE_EVENTS[reason];
      this.#record(bundle, {
        type: "Warning",
        reason,
        action: "Resolved",
        note: `${brief(`${says}: `, texts)}${advice}`,
      });
    }
  }

  /**
   * Which certificates a new pool has lost: those are not trusted any more.
   *
   * @param last what the Bundle came to before; undefined at first.
   */
  resolved(
    bundle: BundleRecord,
    resolution: Resolution & { ok: true },
    last: Resolution & { ok: true } | undefined,
  ): void {
    const { log, metrics } = this.#sinks;
    if (last === undefined || last.version === resolution.version) return;
    const kept = new Set(resolution.version.pool.map(({ sha256 }) => sha256));
    const lost = last.version.pool.filter(({ sha256 }) => !kept.has(sha256));
    if (lost.length === 0) return;
    metrics.certificatesRemoved(bundle.name, lost.length);
    const names = lost.map((certificate) => `${subjectOf(certificate)} (SHA-256 ${certificate.sha256})`);
    names.forEach((certificate) =>
      log.info("Certificate is not in the Bundle any more", { bundle: bundle.name, certificate })
    );
    this.#record(bundle, {
      type: "Normal",
      reason: "CertificatesRemoved",
      action: "Resolved",
      note:
        `${
          lost.length === 1 ? "1 certificate is" : `${lost.length} certificates are`
        } not in the Bundle any more: ` +
        names.join("; "),
    });
  }

  /** A stored Bundle is one that admission would refuse. It is synced all the same, as the Go project does. */
  refused(bundle: BundleRecord): void {
    const { refusal } = bundle;
    if (refusal === undefined) return;
    this.#sinks.log.info("Bundle would be refused if it were written now", { bundle: bundle.name, refusal });
    this.#record(bundle, {
      type: "Warning",
      reason: "InvalidBundle",
      action: "Validate",
      note: `This Bundle would be refused if it were written now: ${refusal}`,
    });
  }

  /**
   * Java cannot open a key store with the password that the Bundle gives it. It is written all the same, as the Go project does:
   * programs that are no Java may read it.
   */
  notForJava(bundle: BundleRecord): void {
    for (const { format, key, cause } of passwordNotices(bundle.target.additionalFormats ?? {})) {
      this.#sinks.log.info("Java cannot open a key store with this password", {
        bundle: bundle.name,
        format,
        key,
        cause,
      });
      this.#record(bundle, {
        type: "Warning",
        reason: "KeyStoreNotForJava",
        action: "Encode",
        note: format === "jks"
          ? `Java opens the JKS at key ${
            JSON.stringify(key)
          } only if it is given no password: ${cause}. Use a password of ASCII`
          : `Java cannot open the PKCS#12 store at key ${
            JSON.stringify(key)
          }, though others such as OpenSSL can: ${cause}. ` +
            "Use a password of printable ASCII",
      });
    }
  }

  /** Somebody else changes a target again and again, so that it waits for `pauseMs` milliseconds. */
  contested(bundle: BundleRecord, kind: TargetKind, namespace: string, name: string, pauseMs: number): void {
    this.#sinks.log.info("Target is changed again and again by somebody else", {
      bundle: bundle.name,
      kind,
      namespace,
      name,
      pauseMs,
    });
    this.#record(bundle, {
      type: "Warning",
      reason: "TargetContested",
      action: "Repair",
      note:
        `${kind} ${namespace}/${name} is changed again and again by somebody else; it is repaired after a pause. ` +
        "Find who else writes it (its managedFields tell), or give one of the two another name",
    });
  }

  /** The condition of a Bundle says something new. */
  outcome(bundle: BundleRecord, { status, reason, message, note }: DesiredStatus): void {
    const { log } = this.#sinks;
    const failed = status === "False";
    if (failed) log.error("Bundle is not in sync", message, { bundle: bundle.name, reason });
    else log.info("Synced Bundle", { bundle: bundle.name });
    this.#record(bundle, {
      type: failed ? "Warning" : "Normal",
      reason,
      action: failed ? "SyncFailed" : "Synced",
      note,
    });
  }

  #record({ name, uid }: BundleRecord, event: Omit<EventInput, "regarding">): void {
    this.#sinks.recordEvent({
      ...event,
      regarding: { apiVersion: "trust.cert-manager.io/v1alpha1", kind: "Bundle", name, uid },
    });
  }
}
