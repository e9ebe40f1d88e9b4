/**
 * Where krun's Pod in the mesh differs from what Istio's injector makes of the same Pod, on purpose. One row each, with its reason.
 *
 * Paths are those of `pod_leaves.ts`.
 *
 * @module
 */

/** One row. */
export interface Difference {
  /** A whole path, or a pattern for some of them. */
  readonly at: string | RegExp;
  /** The injector's value; `undefined`: it has none. */
  readonly injector: string | RegExp | undefined;
  /** krun's; `undefined`: it has none. */
  readonly krun: string | RegExp | undefined;
  readonly reason: string;
}

/** Whatever it is. */
const SOME = /[^]*/;

const IMAGE = "there is no image: the programs are the machine's";
const LIMITS = "krun has no cgroup for it; limits.cpu of an injected proxy is given as a number";
const USER = "krun changes the user, which takes every capability; it has no other wall";
const OUTSIDE = "in the cluster it is found by a name that means nothing outside";
const NO_READER = "it is for kubectl or the injector, and the Pod is in no cluster";
const MACHINE = "the paths and ports of this machine, which a default of the agent's must not change";
const PROBES = "krun asks the program itself, on loopback, which interception leaves alone";
const DRAIN = "krun drains by itself, also inbound connections, before the program's end";
const IN_MEMORY = "keys and sockets do not touch a disk that others read";
const GRPC_SHARED = "gRPC finds its keys in istio-data; the other folder is filled by GKE's driver alone";
const PROGRAM_ALONE = "one stream is served at a time: a second client of the agent would end the program's";

/** All of them. */
export const DIFFERENCES: readonly Difference[] = [
  { at: /^proxy\/image(PullPolicy)?$/, injector: SOME, krun: undefined, reason: IMAGE },
  {
    at: "proxy/command",
    injector: "proxy sidecar",
    krun: "/usr/local/bin/pilot-agent proxy sidecar",
    reason: IMAGE,
  },
  {
    at: "proxy/workingDir",
    injector: undefined,
    krun: "/",
    reason: "an image says it, and the agent's paths are relative",
  },
  { at: "proxy/flags/log_as_json", injector: undefined, krun: "", reason: "krun reads the lines into its own log" },
  {
    at: "proxy/flags/domain",
    injector: /^\$\(POD_NAMESPACE\)\.svc\./,
    krun: /^shop\.svc\./,
    reason: "the same, written out",
  },
  { at: /^proxy\/ports\//, injector: SOME, krun: undefined, reason: NO_READER },
  { at: /^proxy\/resources\//, injector: SOME, krun: undefined, reason: LIMITS },
  { at: /^proxy\/env\/(ISTIO_CPU_LIMIT|GOMAXPROCS)$/, injector: undefined, krun: "2", reason: LIMITS },
  {
    at: /^proxy\/env\/(ISTIO_CPU_LIMIT|GOMAXPROCS|GOMEMLIMIT)\/resource/,
    injector: SOME,
    krun: undefined,
    reason: LIMITS,
  },
  { at: "proxy/env/AUTOMEMLIMIT", injector: undefined, krun: "off", reason: LIMITS },
  {
    at: /^proxy\/securityContext\/(allowPrivilegeEscalation|privileged|readOnlyRootFilesystem|capabilities\/drop\/0)$/,
    injector: SOME,
    krun: undefined,
    reason: USER,
  },
  {
    at: "proxy/env/CA_ADDR",
    injector: "istiod.istio-system.svc:15012",
    krun: undefined,
    reason: `${OUTSIDE}; unset it is the control plane, and ISTIOD_SAN counts for it too`,
  },
  { at: "proxy/env/ISTIOD_SAN", injector: undefined, krun: "istiod.istio-system.svc", reason: OUTSIDE },
  {
    at: "proxy/env/PROXY_CONFIG/discoveryAddress",
    injector: undefined,
    krun: /^127\.0\.0\.1:\d+$/,
    reason: OUTSIDE,
  },
  { at: "proxy/env/PROXY_CONFIG/configPath", injector: undefined, krun: "/etc/istio/proxy", reason: MACHINE },
  { at: "proxy/env/PROXY_CONFIG/proxyAdminPort", injector: undefined, krun: "15000", reason: MACHINE },
  { at: "proxy/env/PROXY_CONFIG/statusPort", injector: undefined, krun: "15020", reason: MACHINE },
  { at: "proxy/env/PROXY_CONFIG/binaryPath", injector: undefined, krun: "/usr/local/bin/envoy", reason: MACHINE },
  { at: "proxy/env/ENVOY_STATUS_PORT", injector: undefined, krun: "15021", reason: MACHINE },
  { at: "proxy/env/ENVOY_PROMETHEUS_PORT", injector: undefined, krun: "15090", reason: MACHINE },
  {
    at: "proxy/env/GRPC_XDS_BOOTSTRAP",
    injector: undefined,
    krun: "/etc/istio/proxy/grpc-bootstrap.json",
    reason: MACHINE,
  },
  {
    at: "proxy/env/ISTIO_BOOTSTRAP",
    injector: undefined,
    krun: /\/envoy_bootstrap(_tmpl)?\.json$/,
    reason: "krun brings a template for an image without Istio's",
  },
  {
    at: /^(proxy\/mounts\/:etc:istio:krun|volumes\/istio-bootstrap)\//,
    injector: undefined,
    krun: SOME,
    reason: "krun brings a template for an image without Istio's",
  },
  {
    at: "proxy/env/CLOUD_PLATFORM",
    injector: undefined,
    krun: "none",
    reason: "the agent would ask every cloud's metadata server, for five seconds",
  },
  {
    at: "proxy/env/OUTPUT_CERTS",
    injector: undefined,
    krun: "/var/lib/istio/data",
    reason: "the agent then is not ready before it has a certificate",
  },
  {
    at: "proxy/env/REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION",
    injector: undefined,
    krun: "true",
    reason: "the agent tells istiod of the program's health as krun's own probes see it, on loopback",
  },
  { at: "proxy/env/ISTIO_KUBE_APP_PROBERS", injector: SOME, krun: undefined, reason: PROBES },
  {
    at: /^containers\/web\/readinessProbe\/httpGet\/(path|port)$/,
    injector: /^(\/app-health\/web\/readyz|15020)$/,
    krun: /^(\/ok|http)$/,
    reason: PROBES,
  },
  { at: /^proxy\/lifecycle\/preStop\//, injector: SOME, krun: undefined, reason: DRAIN },
  { at: /^annotations\/kubectl\.kubernetes\.io:/, injector: "web", krun: undefined, reason: NO_READER },
  { at: "annotations/sidecar.istio.io:status", injector: SOME, krun: undefined, reason: NO_READER },
  { at: "annotations/prometheus.io:path", injector: "/stats/prometheus", krun: undefined, reason: NO_READER },
  { at: "annotations/prometheus.io:port", injector: "15020", krun: "9090", reason: NO_READER },
  { at: "annotations/prometheus.io:port", injector: "15020", krun: undefined, reason: NO_READER },
  { at: "annotations/prometheus.io:scrape", injector: "true", krun: undefined, reason: NO_READER },
  {
    at: "annotations/sidecar.istio.io:interceptionMode",
    injector: undefined,
    krun: /^(NONE|REDIRECT)$/,
    reason: "as the injector sets it where somebody else captures: the mode that krun has chosen",
  },
  {
    at: "annotations/proxy.istio.io:config",
    injector: SOME,
    krun: undefined,
    reason: "it is in PROXY_CONFIG, over which the agent would take it for the second time",
  },
  {
    at: "volumes/istio-token/projected/defaultMode",
    injector: "420",
    krun: "384",
    reason: "no mount namespace hides it",
  },
  {
    at: /^volumes\/(credential-socket|istio-data|workload-certs|workload-socket)\/emptyDir\/medium$/,
    injector: undefined,
    krun: "Memory",
    reason: IN_MEMORY,
  },
  // Interception.
  {
    at: /^containers\/istio-init\//,
    injector: SOME,
    krun: undefined,
    reason: "krun itself has the rules put in place",
  },
  {
    at: "order",
    injector: /^istio-init /,
    krun: /^istio-proxy /,
    reason: "krun itself has the rules put in place",
  },
  // Annotations that krun does not follow: its proxy is no container of an image.
  {
    at:
      /^(proxy\/env\/ISTIO_BOOTSTRAP_OVERRIDE$|proxy\/mounts\/:(etc:istio:custom-bootstrap|more)\/|volumes\/(custom-bootstrap-volume|more)\/)/,
    injector: SOME,
    krun: undefined,
    reason: "a file of the machine does it: customConfigFile of PROXY_CONFIG, or ISTIO_BOOTSTRAP in its proxyMetadata",
  },
  {
    at: "proxy/readinessProbe/periodSeconds",
    injector: "5",
    krun: "15",
    reason: "no Service takes the Pod out by it; istiod is told of the program's own probe",
  },
  {
    at: /^proxy\/securityContext\/(runAsUser|runAsNonRoot)$/,
    injector: /^(0|false)$/,
    krun: /^(1337|true)$/,
    reason: "krun gives no capability: ISTIO_META_UNPRIVILEGED_POD does without",
  },
  {
    at: "proxy/securityContext/capabilities/add/0",
    injector: "NET_BIND_SERVICE",
    krun: undefined,
    reason: "krun gives no capability: ISTIO_META_UNPRIVILEGED_POD does without",
  },
  // Mode proxy.
  {
    at: /^containers\/web\/env\/(HTTP_PROXY|http_proxy)$/,
    injector: undefined,
    krun: "http://127.0.0.1:15007",
    reason: "the program's own libraries find the mesh, where a Pod without interception has none",
  },
  {
    at: /^containers\/web\/env\/(NO_PROXY|no_proxy)$/,
    injector: undefined,
    krun: SOME,
    reason: "the program's own libraries find the mesh, where a Pod without interception has none",
  },
  {
    at: "proxy/env/ISTIO_META_HTTP_PROXY_PORT",
    injector: undefined,
    krun: "15007",
    reason: "the program's own libraries find the mesh, where a Pod without interception has none",
  },
  {
    at: "proxy/env/ISTIO_META_UNPRIVILEGED_POD",
    injector: undefined,
    krun: "true",
    reason: "one Service on a port below 1024 would keep the proxy from ever being ready",
  },
  {
    at: "proxy/env/ISTIO_META_DNS_CAPTURE",
    injector: "true",
    krun: "false",
    reason: "the mesh asks for it, but nothing captures the program's questions",
  },
  // Mode proxyless, template grpc-agent.
  {
    at: "labels/security.istio.io:tlsMode",
    injector: undefined,
    krun: "istio",
    reason:
      "a WorkloadEntry with a service account counts as mTLS without it, and istiod would have the server talk in plain text",
  },
  {
    at: "order",
    injector: "setup istio-proxy web log",
    krun: "istio-proxy setup web log",
    reason: "as a sidecar it is there for init containers too, and ends after the program",
  },
  {
    at: "proxy/restartPolicy",
    injector: undefined,
    krun: "Always",
    reason: "the template is older than sidecars of Kubernetes",
  },
  {
    at: /^proxy\/lifecycle\/postStart\//,
    injector: SOME,
    krun: undefined,
    reason: "what follows waits for the startup probe",
  },
  { at: /^proxy\/startupProbe\//, injector: undefined, krun: SOME, reason: "what follows waits for the startup probe" },
  {
    at: /^(proxy|containers\/web)\/mounts\/:etc:istio:proxy\/name$/,
    injector: "istio-xds",
    krun: "istio-envoy",
    reason: "one name in all modes",
  },
  { at: /^volumes\/istio-xds\//, injector: SOME, krun: undefined, reason: "one name in all modes" },
  { at: /^volumes\/istio-envoy\//, injector: undefined, krun: SOME, reason: "one name in all modes" },
  {
    at: /^containers\/web\/mounts\/:var:run:secrets:workload-spiffe-credentials\//,
    injector: "workload-certs",
    krun: undefined,
    reason: GRPC_SHARED,
  },
  { at: /^containers\/log\/(env|mounts)\//, injector: SOME, krun: undefined, reason: PROGRAM_ALONE },
  {
    at: "containers/web/env/GRPC_XDS_EXPERIMENTAL_RBAC",
    injector: undefined,
    krun: "true",
    reason: "releases of gRPC before 2022 let everybody in without it",
  },
  { at: "annotations/sidecar.istio.io:rewriteAppHTTPProbers", injector: "false", krun: undefined, reason: NO_READER },
  { at: "annotations/proxy.istio.io:overrides", injector: SOME, krun: undefined, reason: NO_READER },
  // What the cluster's own values say.
  {
    at: /^proxy\/flags\/(log_output_level|proxyLogLevel|proxyComponentLogLevel)$/,
    injector: /^(default:warn|info|misc:info)$/,
    krun: /^(default:info|warning|misc:error)$/,
    reason: "these logs are krun's: XDS_AGENT_DEBUG and the workload's annotations say what is in them",
  },
  {
    at: /^(labels\/topology\.istio\.io:network|proxy\/env\/ISTIO_META_NETWORK)$/,
    injector: "cluster-net",
    krun: undefined,
    reason:
      "the network of the cluster's Pods: a workload outside is in it only if its label, variable or group says so",
  },
];
