/**
 * Every variable that krun reads. `krun --help` and docs/settings.md are made from this table, and nothing else names one.
 *
 * @module
 */
import { GOOGLE_NAMES } from "./google_names.ts";
import { MESH_NAMES } from "./mesh_names.ts";
import { PLATFORM_NAMES } from "./platform_names.ts";
import { REFERENCE_NAMES } from "./reference_names.ts";
import { RESERVED_SETTINGS } from "./reserved_names.ts";
import type { Setting } from "./setting.ts";
import { SSH_NAMES } from "./ssh_names.ts";

/** Every variable that krun reads. */
export const SETTINGS = [
  {
    env: "KRUN_MANIFESTS",
    group: "cluster",
    unit: "folder",
    unset: "a real cluster is looked for",
    says:
      "Folder of Kubernetes manifests (*.yaml, *.yml, *.json, no leading dot; followed while krun runs) that takes the place of a cluster, before every other source",
    example: "./k8s",
    seenBy: "krun",
  },
  {
    env: "KUBECONFIG",
    group: "cluster",
    unit: "files, separated by colons",
    unset: "the in-cluster service account, ~/.kube/config, then Google Cloud",
    says: "Kubeconfig files, merged as kubectl merges them; the program gets its service account's instead",
    example: "/etc/krun/kubeconfig",
    seenBy: "krun",
  },
  {
    env: "KRUN_CONTEXT",
    group: "cluster",
    unit: "name",
    unset: "the kubeconfig's current-context",
    says: "Context of the kubeconfig",
    example: "staging",
    seenBy: "krun",
  },
  {
    env: "KRUN_START_TIMEOUT",
    group: "cluster",
    unit: "seconds, or with a unit: 500ms, 90s, 5m",
    unset: "60",
    says: "How long a start tries again when the API server does not answer; 0 tries once",
    example: "90s",
    seenBy: "krun",
  },
  ...GOOGLE_NAMES,
  {
    env: "WORKLOAD_NAMESPACE",
    group: "workload",
    unit: "name",
    unset:
      "from KRUN_POD, K_SERVICE (CLOUD_RUN_JOB, CLOUD_RUN_WORKER_POOL), then the kubeconfig's context or the in-cluster namespace, last the Google account or project",
    says: "Namespace of the workload: where its Secrets, ConfigMaps and service account are",
    example: "payments",
    seenBy: "program",
  },
  {
    env: "WORKLOAD_NAME",
    group: "workload",
    unit: "name",
    unset: "from KRUN_POD, K_SERVICE, then the namespace",
    says: "Name of the workload, which is the Pod's; on Cloud Run the Pod's is that of the revision and the instance",
    example: "api",
    seenBy: "program",
  },
  {
    env: "WORKLOAD_SERVICE_ACCOUNT",
    group: "workload",
    unit: "name",
    unset: "from KRUN_POD, then default",
    says: "Service account whose tokens the program gets",
    example: "api",
    seenBy: "program",
  },
  {
    env: "LABEL_<key>",
    group: "workload",
    unit: "label value",
    unset: "no label",
    says: "Label of the Pod; a key or value that is none is warned of and left out",
    example: "v2",
    seenBy: "program",
  },
  {
    env: "K8S_SECRET_<name>",
    group: "mounts",
    unit: "[object:]path[?mode=&optional=&key=]",
    unset: "not mounted",
    says: "Mounts a Secret: a folder of its keys, or with key= one file; mode 0400",
    example: "/etc/db?optional=true",
    seenBy: "krun",
  },
  {
    env: "K8S_CM_<name>",
    group: "mounts",
    unit: "[object:]path[?mode=&optional=&key=]",
    unset: "not mounted",
    says: "Mounts a ConfigMap: a folder of its keys, or with key= one file; mode 0644",
    example: "kube-root-ca.crt:./ca.crt?key=ca.crt",
    seenBy: "krun",
  },
  {
    env: "K8S_TOKEN_<audience>",
    group: "mounts",
    unit: "[audience:]path[?expirationSeconds=]",
    unset: "not mounted",
    says:
      "Keeps a token of the workload's service account for that audience in one file, always of mode 0600 and its reader's",
    example: "https://vault.example:./vault.jwt?expirationSeconds=600",
    seenBy: "krun",
  },
  {
    env: "KRUN_POD",
    group: "mounts",
    unit: "file",
    unset: "the Pod is made from the other settings",
    says: "Manifest of a whole Pod, YAML or JSON; the K8S_ mounts are added to its first container",
    example: "./pod.yaml",
    seenBy: "krun",
  },
  {
    env: "KRUN_SERVICE_LINKS",
    group: "mounts",
    unit: "true or false",
    unset: "false; with KRUN_POD what enableServiceLinks says",
    says: "Gives the program the variables of the namespace's Services, which krun must be allowed to list",
    example: "true",
    seenBy: "krun",
  },
  {
    env: "MESH_BASE_DIR",
    group: "mounts",
    unit: "folder",
    unset: "/ as root, else the working directory",
    says: "Base of every file that krun makes: mount paths lie below it, and no second krun works in it",
    example: "/tmp/krun",
    seenBy: "program",
  },
  {
    env: "KRUN_FILES",
    group: "mounts",
    unit: "remove or keep",
    unset: "remove",
    says: "What happens to the mounted files at a normal end",
    example: "keep",
    seenBy: "krun",
  },
  {
    env: "KRUN_REFRESH",
    group: "mounts",
    unit: "always or never",
    unset: "always",
    says: "With never krun makes files and environment, then replaces itself by the program",
    example: "never",
    seenBy: "krun",
  },
  ...REFERENCE_NAMES,
  {
    env: "KRUN_ON_CHANGE",
    group: "program",
    unit: "none, restart or signal:<NAME>",
    unset: "none",
    says:
      "What happens to the program when a mounted object changes, once 1 s passed without a further change, at most 10 s after the first; a token's renewal is no change",
    example: "signal:HUP",
    seenBy: "krun",
  },
  {
    env: "KRUN_RUN_AS",
    group: "program",
    unit: "uid[:gid]",
    unset: "krun's own user",
    says:
      "User and group of the program; without a gid the user's own group. HOME becomes that user's in /etc/passwd, else /, unless it was set to something else than krun's own user has",
    example: "1000:1000",
    seenBy: "krun",
  },
  {
    env: "K8S_UID",
    group: "program",
    unit: "uid",
    unset: "krun's own user",
    says: "The original program's name for KRUN_RUN_AS",
    example: "1000",
    seenBy: "program",
  },
  {
    env: "KRUN_GRACE_PERIOD",
    group: "program",
    unit: "whole seconds, or with a unit: 90s, 5m",
    unset: "30; 8 on Cloud Run, which kills after 10",
    says: "Time between SIGTERM and SIGKILL when the program is stopped; less than 2 s counts as 2 s, as in a Pod",
    example: "20s",
    seenBy: "krun",
  },
  {
    env: "KRUN_PASS_ENV",
    group: "program",
    unit: "names, separated by commas",
    unset: "none",
    says: "Variables of krun's own that the program gets all the same",
    example: "KUBECONFIG,GOOGLE_APPLICATION_CREDENTIALS",
    seenBy: "krun",
  },
  {
    env: "PORT",
    group: "program",
    unit: "port",
    unset: "8080 where a startup probe needs one",
    says: "Port of the program",
    example: "8080",
    seenBy: "program",
  },
  {
    env: "PORT_<name>",
    group: "program",
    unit: "port, or - for none",
    unset: "none",
    says: "One more port of the program; an underscore in the name stands for a dash",
    example: "9090",
    seenBy: "program",
  },
  {
    env: "startupProbe.http",
    group: "program",
    unit: "URL, or path",
    unset: "no startup probe",
    says: "The program has started when a GET succeeds; a path alone asks PORT_http, PORT or 8080",
    example: "http://127.0.0.1:8080/ready",
    seenBy: "program",
  },
  {
    env: "startupProbe.tcp",
    group: "program",
    unit: "host:port, or port",
    unset: "no startup probe",
    says: "The program has started when a connection succeeds; startupProbe.http goes before it",
    example: "127.0.0.1:8080",
    seenBy: "program",
  },
  ...MESH_NAMES,
  ...SSH_NAMES,
  {
    env: "KRUN_LOG",
    group: "krun",
    unit: "error, warn, info or debug",
    unset: "info",
    says: "How much krun logs to stderr",
    example: "debug",
    seenBy: "krun",
  },
  {
    env: "KRUN_LOG_FORMAT",
    group: "krun",
    unit: "text, json or google",
    unset: "google on Cloud Run, else text",
    says: "Form of a log line; google is JSON as Cloud Logging reads it, with severity and trace",
    example: "json",
    seenBy: "krun",
  },
  {
    env: "KRUN_STATUS",
    group: "krun",
    unit: "address:port",
    unset: "off",
    says: "Serves /healthz, /readyz, /metrics and /status there",
    example: "127.0.0.1:15099",
    seenBy: "krun",
  },
  {
    env: "KRUN_TUNNEL",
    group: "krun",
    unit: "h2c",
    unset: "off",
    says:
      "Listens behind a front end that ends TLS, on PORT of Cloud Run (the program gets another PORT), else on 15009 of KRUN_TUNNEL_ADDRESS: POST /_hbone/22 is a stream to the workload's ssh server on 15022, every other request goes to the program",
    example: "h2c",
    seenBy: "krun",
  },
  {
    env: "KRUN_TUNNEL_ADDRESS",
    group: "krun",
    unit: "IP address",
    unset: "all addresses on Cloud Run, else 127.0.0.1",
    says:
      "Where KRUN_TUNNEL listens, in plain text and for everybody who reaches it, past the mesh's mTLS and policies; 0.0.0.0 is every IPv4 address, :: every one",
    example: "10.1.2.3",
    seenBy: "krun",
  },
  ...PLATFORM_NAMES,
  ...RESERVED_SETTINGS,
] as const satisfies readonly Setting[];

/** A variable that has one fixed name. */
export type SettingName = Exclude<(typeof SETTINGS)[number]["env"], `${string}<${string}`>;

/** The fixed beginning of the variables that have many names. */
export type SettingPrefix = (typeof SETTINGS)[number]["env"] extends infer E
  ? E extends `${infer P}<${string}` ? P : never
  : never;
