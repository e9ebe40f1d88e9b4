/**
 * The mesh's proxy for unit tests: local servers in place of agent and Envoy.
 *
 * @module
 */
import { MESH_PORTS, type MeshPorts } from "../src/core/istio_proxy.ts";
import type { ProxyPlace } from "../src/mesh/proxy_status.ts";

/** A port on which nobody listens. */
export function closedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Agent and Envoy as far as krun asks them: each port tells what it was asked. */
export class FakeProxy implements AsyncDisposable {
  /** `<port's name> <method> <path>`, in order. */
  readonly asked: string[] = [];
  /** Answers of paths; all others are 200. */
  readonly answers = new Map<string, () => Response>();
  readonly #servers: Deno.HttpServer<Deno.NetAddr>[] = [];
  /** Those that are served, and others where nobody listens. */
  readonly ports: MeshPorts;

  constructor(names: readonly (keyof MeshPorts)[]) {
    const served = names.map((name) => {
      const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, ({ method, url }) => {
        const { pathname, search } = new URL(url);
        this.asked.push(`${name} ${method} ${pathname}${search}`);
        return this.answers.get(pathname)?.() ?? new Response("");
      });
      this.#servers.push(server);
      return [name, server.addr.port] as const;
    });
    // Nobody listens on the others.
    const unused = Object.keys(MESH_PORTS).map((name) => [name, closedPort()]);
    this.ports = { ...Object.fromEntries(unused), ...Object.fromEntries(served) };
  }

  /** For a mode. */
  place(mode: ProxyPlace["mode"]): ProxyPlace {
    return { mode, ports: this.ports };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.shutdown();
  }
}
