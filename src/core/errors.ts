/**
 * Every failure krun can explain: its code, what it means and what to do. `docs/troubleshooting.md` is made from this table.
 *
 * @module
 */

import type { MissingAccess } from "./access_role.ts";

/** One row of {@linkcode ERRORS}. */
export interface ErrorMeaning {
  /** The state of the world that this code stands for, one sentence. */
  readonly means: string;
  /** What a person does about it, one sentence. */
  readonly remedy: string;
}

/** Every error code, with what it means and what to do. Codes are public API: branch on them, never on the words. */
export const ERRORS = {
  SettingInvalid: {
    means: "An environment variable of krun has a value that cannot be read.",
    remedy: "Correct the variable that the message names; the message holds an example.",
  },
  SettingConflict: {
    means: "Two settings contradict each other, or one what krun is to keep secret.",
    remedy: "Unset what the message names.",
  },
  NothingToDo: {
    means: "No program is named, and there is nothing to mount.",
    remedy: "Name a program, as in krun ./server, or what to mount; krun --help lists the settings.",
  },
  ArgumentInvalid: {
    means: "An option before the program's name is not one of krun's, or has a value that cannot be read.",
    remedy: "See `krun --help`; put `--` before a program whose name begins with a dash.",
  },
  PodInvalid: {
    means: "The Pod, from KRUN_POD or from the settings, is not one that krun can run.",
    remedy: "Correct the field that the message names.",
  },
  ClusterNotFound: {
    means: "Something asks for a cluster and none was found.",
    remedy: "Set KUBECONFIG or KRUN_MANIFESTS; the message lists every place that was tried.",
  },
  ClusterAmbiguous: {
    means: "Several clusters of Google Cloud are equally good, and krun does not guess.",
    remedy: "Set CLUSTER_NAME, and CLUSTER_LOCATION where a name is there twice, to one that the message lists.",
  },
  GoogleSettingsMissing: {
    means:
      "A cluster of Google Cloud is looked for, there is no metadata server, and something is not set that it would have said.",
    remedy: "Set every variable that the message names.",
  },
  GoogleCredentialsUnavailable: {
    means:
      "Google credentials cannot be had: the metadata server does not answer, or Google does not take what was shown.",
    remedy: "Do what the message says; on Google Cloud check that the machine or service has a service account.",
  },
  GoogleCredentialsInvalid: {
    means: "The file of GOOGLE_APPLICATION_CREDENTIALS cannot be read, or is none that krun takes.",
    remedy: "Correct or make the file anew; an address in it must be one of Google's.",
  },
  GoogleForbidden: {
    means: "A Google API refuses an account (403): it lacks a role, or the API is not enabled.",
    remedy: "Grant the role that the message names to the account that it names.",
  },
  GoogleApiFailed: {
    means: "A Google API does not answer, or answers with a failure that krun has no special words for.",
    remedy: "Read the API's own words in the message; check the network where there was no answer.",
  },
  KubeconfigInvalid: {
    means: "A kubeconfig cannot be read, or its context, cluster or user is missing or malformed.",
    remedy: "Correct the file that the message names; `kubectl --context=... get ns` helps to try it.",
  },
  CredentialsUnavailable: {
    means: "The credentials of the kubeconfig user cannot be had: a file is missing, or a credential plugin failed.",
    remedy: "Make the file or the plugin that the message names work; try it by hand.",
  },
  CertificateInvalid: {
    means:
      "The API server's certificate does not verify with the CA that krun was given, or where none was, with the machine's.",
    remedy: "Give the right certificate-authority in the kubeconfig; a private CA must be X.509 version 3.",
  },
  RuntimeTooOld: {
    means: "The runtime inside this binary lacks what the configuration needs.",
    remedy: "Use a krun built with the Deno version that the message names, or change the configuration.",
  },
  ClusterUnreachable: {
    means: "The API server did not answer until KRUN_START_TIMEOUT.",
    remedy: "Check the address, the network and the firewall; raise KRUN_START_TIMEOUT if the server starts slowly.",
  },
  Unauthorized: {
    means: "The API server refused krun's own credentials (401).",
    remedy: "Renew the credentials of the kubeconfig user that the message names.",
  },
  Forbidden: {
    means: "krun's identity lacks a right (403).",
    remedy: "Apply the Role that is printed with the message, bound to the identity that it names.",
  },
  ApiRequestFailed: {
    means: "The API server answered with a failure that krun has no special words for.",
    remedy: "Read the server's own words in the message; its log says more.",
  },
  ObjectNotFound: {
    means: "A Secret or ConfigMap, or a secret that a reference names, does not exist and is not optional.",
    remedy:
      "Create it, correct its name in the setting that the message names, or the namespace, or add ?optional=true.",
  },
  KeyNotFound: {
    means: "A Secret or ConfigMap exists but lacks the key, or the JSON field, that is asked for.",
    remedy: "Add the key, correct its name, or mark the reference optional.",
  },
  ReferenceInvalid: {
    means:
      "A variable's value begins as a reference ($SecretKeyRef:, $ConfigMapKeyRef:, berglas://, sm://) and is none that can be read.",
    remedy:
      "Correct it as the message says; KRUN_REFS lists the variables that are to be resolved, KRUN_REFS=off resolves none.",
  },
  ReferenceUnusable: {
    means:
      "What a reference names is there, and is not what the reference needs: it is no text, no JSON, or was not written by berglas.",
    remedy: "Do what the message says; a value that is no text goes into a file by ?destination=tempfile.",
  },
  ServiceAccountNotFound: {
    means: "The workload's service account does not exist.",
    remedy: "Create it, or set WORKLOAD_SERVICE_ACCOUNT and WORKLOAD_NAMESPACE to one that does.",
  },
  NamespaceUnknown: {
    means: "Something needs the workload's namespace and nothing says which it is.",
    remedy: "Set WORKLOAD_NAMESPACE.",
  },
  ManifestInvalid: {
    means: "A file in the KRUN_MANIFESTS folder cannot be read as Kubernetes objects.",
    remedy: "Correct the file and line that the message names.",
  },
  PathInvalid: {
    means: "A path from a key, an item or a setting leaves its folder or is not a legal file name.",
    remedy: "Use a relative path without `..`, at most 4096 bytes long and 255 bytes a part.",
  },
  TargetInUse: {
    means: "Something that krun did not make stands where a mount should be.",
    remedy: "Move it away or mount elsewhere; krun has touched nothing.",
  },
  TargetConflict: {
    means: "Two mounts ask for one path, or one for a place inside a file of the other.",
    remedy: "Give one of the two settings that the message names another path.",
  },
  TargetUnwritable: {
    means: "Files cannot be written where a mount should be.",
    remedy: "Mount below a folder that this user may write, or set MESH_BASE_DIR.",
  },
  NoSpace: {
    means: "The file system of a mount is full; the version before stays in place.",
    remedy:
      "Make room there, or set MESH_BASE_DIR to a larger file system; give /dev/shm more room with docker run --shm-size.",
  },
  AlreadyRunning: {
    means: "A program that uses krun as a library runs a second Pod while the first one runs.",
    remedy: "Wait for the end of the first `runPod`, or run each in a process of its own.",
  },
  BaseLocked: {
    means: "Another krun works in this base folder.",
    remedy: "Stop the process that the message names, or set MESH_BASE_DIR to a folder of its own.",
  },
  ProgramNotFound: {
    means: "The program to start does not exist (exit status 127).",
    remedy: "Check the name, PATH and the interpreter in its first line.",
  },
  ProgramNotExecutable: {
    means: "The program exists but cannot be executed (exit status 126).",
    remedy:
      "Check its mode, its file system's noexec option and its architecture; a folder is not a program. Without /dev/null only the program on krun's own command line can start.",
  },
  RunAsDenied: {
    means: "The program should run as another user, and krun may not change users, or could not end what runs as one.",
    remedy: "Start krun as root with the capabilities SETUID, SETGID and KILL, or remove KRUN_RUN_AS and runAsUser.",
  },
  MeshUnknown: {
    means: "There is a mesh, and something that krun needs to join it is not known.",
    remedy: "Set the variable, or make the object, that the message names; XDS_ADDR=- starts without a mesh.",
  },
  MeshUnavailable: {
    means: "There is a mesh, and what this machine lacks to join it is named in the message.",
    remedy:
      "Install or allow it, choose another MESH_MODE, or start without the mesh: MESH_OPTIONAL=true or XDS_ADDR=-.",
  },
  MeshNotReady: {
    means: "The mesh's proxy did not get ready within MESH_START_TIMEOUT, or ended.",
    remedy:
      "Read the agent's own lines below the message; the configuration that Envoy has is in the file that it names.",
  },
  AddressInUse: {
    means: "The address for KRUN_STATUS, KRUN_METADATA or the debug SSH server cannot be listened on.",
    remedy:
      "Choose a free port, on an address of this machine; without the ssh server the program starts all the same.",
  },
  HboneUnavailable: {
    means: "Peers cannot be let in: every port for it is taken, or the workload's certificates cannot be used.",
    remedy: "Free the port, or make the certificate files that the message names right; the mesh's agent writes them.",
  },
  ConnectFailed: {
    means: "`krun --connect` cannot reach the far side, cannot verify it, or its connection was cut.",
    remedy: "Check the name, the network and the certificates on both sides; the message says how far it came.",
  },
  ConnectRefused: {
    means: "The far side answers `krun --connect`, and refuses to let it through.",
    remedy: "Read its own words in the message: it names the rule, a port that it has not, or a program that is down.",
  },
  KubeconfigUnwritable: {
    means:
      "The file that `krun --kubeconfig=FILE` was to change cannot be written, or is written in a way that krun cannot add to.",
    remedy: "Name another file, or print the kubeconfig with `krun --kubeconfig` and add it by hand.",
  },
  OutputUnwritable: {
    means: "What krun prints (help, version, the report of `--check`) cannot be written to standard output.",
    remedy: "Send it to a file or program that takes it; krun has started nothing.",
  },
  PackageMissing: {
    means: "A program that uses krun as a library has not the package in its deno.json that krun needs here.",
    remedy: "Add the import that the message names to the deno.json of that program.",
  },
  InterceptionUnavailable: {
    means:
      "Traffic cannot be intercepted here: iptables, the kernel's part of it, a capability or an address is missing.",
    remedy: "Provide what the message names, or choose a mode without interception.",
  },
  InterceptionConflict: {
    means: "Interception would meet rules or traffic of others in this network namespace.",
    remedy: "Do what the message names: give the program a group of its own, or remove the rules.",
  },
  InterceptionFailed: {
    means: "istio-iptables or iptables ended with an error; a start that fails so leaves no rule behind.",
    remedy: "Read the program's own words below the message.",
  },
  Internal: {
    means: "krun met a state that its authors did not foresee.",
    remedy: "Report it with the message and `KRUN_LOG=debug` output.",
  },
} as const satisfies Readonly<Record<string, ErrorMeaning>>;

/** The name of a failure: stable, public API. */
export type ErrorCode = keyof typeof ERRORS;

/** What a {@linkcode KrunError} carries besides its words. */
export interface KrunErrorOptions extends ErrorOptions {
  /** True when the same call may succeed later by itself: the server is away or busy. @default {false} */
  readonly transient?: boolean;
  /** Milliseconds the server asked to wait before the next try (Retry-After). */
  readonly retryAfterMs?: number;
  /** More lines for a person, printed below the message: the Role that would allow it, or every failure of several. */
  readonly details?: string;
  /** The end of the message that names the cause alone, not what met it: failures of one cause are told together. */
  readonly sharedEnd?: string;
  /** The right that is wanting, where `details` is the Role for it: the rights of several failures are one Role. */
  readonly missing?: MissingAccess;
}

/**
 * A failure krun can explain. Branch on `code`; the words may change.
 *
 * `message` is one line, `Cannot <verb> <kind> "<name>" <where>: <state found>`, with no final full stop; `hint` is one
 * imperative that a reader can carry out. Neither ever holds a Secret's or token's content.
 */
export class KrunError extends Error {
  /** The class's own name. */
  override readonly name = "KrunError";
  /** Which failure it is. */
  readonly code: ErrorCode;
  /** What to do about it. */
  readonly hint: string;
  /** The same call may succeed later by itself. */
  readonly transient: boolean;
  /** Milliseconds that the server asked to wait. */
  readonly retryAfterMs: number | undefined;
  /** More lines for a person. */
  readonly details: string | undefined;
  /** The end of the message that names the cause alone. */
  readonly sharedEnd: string | undefined;
  /** The right that is wanting. */
  readonly missing: MissingAccess | undefined;

  /** A failure with its code, its words, and what to do. */
  constructor(code: ErrorCode, message: string, hint: string, options: KrunErrorOptions = {}) {
    super(oneLine(message), options);
    this.code = code;
    this.hint = oneLine(hint);
    this.transient = options.transient ?? false;
    this.retryAfterMs = options.retryAfterMs;
    this.details = options.details;
    this.missing = options.missing;
    this.sharedEnd = options.sharedEnd === undefined ? undefined : oneLine(options.sharedEnd);
  }
}

/** Names of files and objects come from others: a control character in one must not begin a line, or steer a terminal. */
function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\0-\x1f\x7f-\x9f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
