/**
 * Which of a program's traffic Envoy is to get when Traffic Director configures it. In: the annotations of Google's injector. Out:
 * Istio's annotations, by which krun captures, and what the node says of them.
 *
 * Source: README of td-sidecar-injector (the annotations and their defaults); the ports of the metadata are those that krun
 * captures to.
 *
 * @module
 */

type Annotations = Readonly<Record<string, string>>;

/** Port to which outbound traffic is redirected: that of a Mesh which names no other. */
export const INTERCEPTION_PORT = 15001;

/** Port to which inbound traffic is redirected. */
const INBOUND_PORT = 15006;

const GOOGLE = "cloud.google.com/", ISTIO = "traffic.sidecar.istio.io/";

/** Google's name → Istio's, and what Google's injector takes where there is neither. */
const NAMES: readonly (readonly [google: string, istio: string, unset?: string])[] = [
  ["includeOutboundCIDRs", "includeOutboundIPRanges"],
  // The metadata server, from which the program has its own identity.
  ["excludeOutboundCIDRs", "excludeOutboundIPRanges", "169.254.169.254/32"],
  ["excludeOutboundPorts", "excludeOutboundPorts"],
  // None: Traffic Director listens for inbound traffic only where it is told of ports.
  ["includeInboundPorts", "includeInboundPorts", ""],
  ["excludeInboundPorts", "excludeInboundPorts"],
];

/** The annotations with Istio's for Google's; one that is there already counts before Google's. */
export function captureAnnotations(annotations: Annotations): Record<string, string> {
  const added = NAMES.flatMap(([google, istio, unset]) => {
    const value = annotations[GOOGLE + google] ?? unset;
    return value === undefined ? [] : [[ISTIO + istio, value]];
  });
  return { ...Object.fromEntries(added), ...annotations };
}

/** What the node says; `annotations` are those of {@linkcode captureAnnotations}, `ports` the TCP ports of the program. */
export function captureMetadata(annotations: Annotations, ports: readonly number[]): Record<string, string> {
  const inbound = annotations[`${ISTIO}includeInboundPorts`]?.trim() ?? "";
  const backends = inbound === "*" ? ports.join(",") : inbound;
  return {
    TRAFFICDIRECTOR_INTERCEPTION_PORT: `${INTERCEPTION_PORT}`,
    ...(backends !== "" && {
      TRAFFICDIRECTOR_INBOUND_INTERCEPTION_PORT: `${INBOUND_PORT}`,
      TRAFFICDIRECTOR_INBOUND_BACKEND_PORTS: backends,
    }),
  };
}
