/**
 * The hooks of a container: postStart and preStop. Rules: Kubernetes v1.34 pkg/kubelet/lifecycle/handlers.go.
 *
 * @module
 */
import type { V1LifecycleHandler } from "@kubernetes/client-node";
import { probePort } from "../core/probe.ts";
import { systemFailure } from "../core/system_failure.ts";
import { httpGet, type ProbeTarget } from "./probe_handlers.ts";

const USER_AGENT = "kube-lifecycle/1.34";

/**
 * Runs a hook until it ends or the signal aborts. Resolves to `undefined` when it succeeded, else to the reason.
 *
 * exec: exit 0, no expansion of its command. httpGet: any answer, whatever its status. sleep: the time has passed.
 * tcpSocket always fails, as in the kubelet. There is no limit but the signal.
 */
export async function runHook(
  handler: V1LifecycleHandler,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    if (handler.exec) {
      const [program, ...args] = handler.exec.command ?? [];
      if (program === undefined) return "the exec hook has no command";
      const end = await target.run([program, ...args], signal);
      if (signal.aborted) return "the hook was cut off";
      return end.kind === "exited" && end.code === 0 ? undefined : `command ${program}: ${JSON.stringify(end)}`;
    }
    if (handler.sleep) {
      await target.clock.sleep(handler.sleep.seconds * 1000, signal);
      return undefined;
    }
    if (handler.httpGet) {
      const port = probePort(handler.httpGet.port, target.container);
      if (port === undefined) return `no port "${handler.httpGet.port}" in container "${target.container.name}"`;
      await httpGet(handler.httpGet, { host: target.host, port, userAgent: USER_AGENT, signal });
      return undefined;
    }
    return "the hook has no handler that can succeed";
  } catch (cause) {
    return cause instanceof Error ? systemFailure(cause) : String(cause);
  }
}
