import type { ControlPlane } from "../cluster/control_plane.ts";
import type { RestObject } from "../cluster/rest_client.ts";

/** What a Secret of cert-manager holds, PEM. */
export interface IssuedSecret {
  readonly "ca.crt": string;
  readonly "tls.crt": string;
}

interface Condition {
  readonly type: string;
  readonly status: string;
}

/** API path of a Certificate. */
export function certificatePath(namespace: string, name: string): string {
  return `/apis/cert-manager.io/v1/namespaces/${namespace}/certificates/${name}`;
}

/** API path of a Secret. */
export function secretPath(namespace: string, name: string): string {
  return `/api/v1/namespaces/${namespace}/secrets/${name}`;
}

/** Waits until cert-manager has issued into the Secret, and anew if `after` says what was there before. Its key is not looked at. */
export async function issued(
  admin: ControlPlane["admin"],
  namespace: string,
  secretName: string,
  after?: IssuedSecret,
): Promise<IssuedSecret> {
  const path = secretPath(namespace, secretName);
  const secret = await admin.waitFor<{ data?: Record<string, string> }>(
    path,
    "is issued",
    (secret) => {
      const certificate = secret?.data?.["tls.crt"];
      return certificate !== undefined && certificate !== "" && decode(certificate) !== after?.["tls.crt"];
    },
  );
  return {
    "ca.crt": decode(secret?.data?.["ca.crt"] ?? ""),
    "tls.crt": decode(secret?.data?.["tls.crt"] ?? ""),
  };
}

/** Has cert-manager renew a Certificate now, as its command line `cmctl renew` does. */
export async function renew(admin: ControlPlane["admin"], namespace: string, name: string): Promise<void> {
  const path = certificatePath(namespace, name);
  await admin.waitFor(path, "is ready", (certificate) => hasCondition(certificate, "Ready"));
  const issuing = {
    type: "Issuing",
    status: "True",
    reason: "ManuallyTriggered",
    message: "Certificate re-issuance manually triggered",
    lastTransitionTime: new Date().toISOString().replace(/\.\d+/, ""),
  };
  for (;;) {
    const certificate = await admin.get(path);
    const { conditions = [], ...status } = Object(certificate?.["status"]);
    const others = conditions.filter(({ type }: Condition) => type !== "Issuing");
    const updated = { ...certificate, status: { ...status, conditions: [...others, issuing] } };
    const done = await admin.request("PUT", `${path}/status`, { body: updated }).then(() => true, (error) => {
      if (error.status === 409) return false;
      throw error;
    });
    if (done) return;
  }
}

/** Whether a condition of an object is True. */
export function hasCondition(object: RestObject | undefined, type: string): boolean {
  const conditions: readonly Condition[] = Object(object?.["status"]).conditions ?? [];
  return conditions.some((condition) => condition.type === type && condition.status === "True");
}

function decode(base64: string): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(base64));
}
