/**
 * Whether something answers at the address of a control plane, and who it says it is. In: host and port. Out: the certificate's
 * names, or why there is none.
 *
 * The certificate is only looked at: whom to believe is the agent's matter. Nothing is sent but a handshake.
 *
 * @module
 */
import { connect } from "node:tls";
import { certificateNames } from "../core/certificate_names.ts";
import type { HostPort } from "../core/mesh_settings.ts";
import { systemFailure } from "../core/system_failure.ts";

/** Who answers. */
export interface SeenServer {
  /** DNS names, addresses and URIs of its certificate, as a person reads them. */
  readonly names: readonly string[];
}

/** What a look gave. */
export type ControlPlaneLook =
  | SeenServer
  | {
    /** The step that failed: no connection, or one on which nobody speaks TLS. */
    readonly step: "TCP" | "TLS";
    readonly reason: string;
  };

/** How long each of the two steps may take, milliseconds. */
const STEP_MS = 2_000;

/** Looks. Never rejects. Needs `--allow-net`. */
export async function lookAtControlPlane(
  { host, port }: HostPort,
  { stepMs = STEP_MS }: { stepMs?: number } = {},
): Promise<ControlPlaneLook> {
  try {
    await within(stepMs, connected({ host, port }));
  } catch (cause) {
    return { step: "TCP", reason: systemFailure(cause as Error) };
  }
  return await certificateOf({ host, port }, stepMs);
}

async function connected({ host, port }: HostPort): Promise<void> {
  (await Deno.connect({ hostname: host, port })).close();
}

/** @throws {Error} when it takes longer; `work` then goes on */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(tooLate(ms)), ms);
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {});
  }
}

function tooLate(ms: number): Error {
  return new Error(`no answer within ${ms / 1000} s`);
}

function certificateOf({ host, port }: HostPort, stepMs: number): Promise<ControlPlaneLook> {
  return new Promise((resolve) => {
    // A name of its own would choose another certificate of a server that has several: the agent sends the same.
    const socket = connect({ host, port, rejectUnauthorized: false, ca: [], ALPNProtocols: ["h2"] });
    const end = (look: ControlPlaneLook) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(look);
    };
    const failed = (cause: Error) => end({ step: "TLS", reason: systemFailure(cause) });
    const timer = setTimeout(() => failed(tooLate(stepMs)), stepMs);
    socket.on("error", failed);
    socket.on("close", () => failed(new Error("the connection was cut off")));
    socket.on("secureConnect", () => {
      const { raw } = socket.getPeerCertificate();
      end({ names: raw ? certificateNames(raw) : [] });
    });
  });
}
