/**
 * What an API server was asked for, as its own audit log has it. Bodies are not in it.
 *
 * @module
 */
import { join } from "node:path";

/** One request that was answered. */
export interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly resource: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly subresource?: string;
  };
  readonly requestURI: string;
  readonly responseStatus?: { readonly code: number };
}

/** The audit log of one API server. Made before it, gone after it. */
export class ApiAudit implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async create(): Promise<ApiAudit> {
    const folder = await Deno.makeTempDir({ prefix: "krun-audit-" });
    const rules = [{ level: "Metadata" }];
    const policy = { apiVersion: "audit.k8s.io/v1", kind: "Policy", omitStages: ["RequestReceived"], rules };
    await Deno.writeTextFile(join(folder, "policy"), JSON.stringify(policy));
    return new ApiAudit(folder);
  }

  /** Arguments of kube-apiserver. */
  get args(): string[] {
    const [policy, log] = ["policy", "log"].map((name) => join(this.#folder, name));
    return [`--audit-policy-file=${policy}`, `--audit-log-path=${log}`];
  }

  /** Requests so far for objects of a resource by a user; a watch is there twice, once it has begun and once it has ended. */
  async of({ user, resource }: { user: string; resource: string }): Promise<AuditEvent[]> {
    const lines = (await Deno.readTextFile(join(this.#folder, "log"))).split("\n").filter((line) => line.endsWith("}"));
    const events = lines.map((line): AuditEvent => JSON.parse(line));
    return events.filter((event) => event.user.username === user && event.objectRef?.resource === resource);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }
}
