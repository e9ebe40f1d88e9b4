/**
 * The life of one container: start, hooks, probes, end, restart. In: the container's part of the Pod and who may run it.
 * Out: how it ended for good. Rules: Kubernetes v1.34 pkg/kubelet/kuberuntime, pkg/kubelet/prober.
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { AnySignal } from "../core/any_signal.ts";
import type { Clock } from "../core/clock.ts";
import { containerCommand } from "../core/container_env.ts";
import { type ChildEnd, exitStatus } from "../core/exit_status.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Env } from "../core/pod_inputs.ts";
import {
  type ContainerRole,
  type RestartBackoff,
  restartDelayMs,
  type RestartPolicy,
  shouldRestart,
  stepRestart,
} from "../core/restart_backoff.ts";
import type { RunAs } from "../core/run_as.ts";
import { SIGKILL, SIGTERM } from "../core/signals.ts";
import { runHook } from "./lifecycle_hook.ts";
import type { ProbeTarget } from "./probe_handlers.ts";
import { ProbeRunner } from "./probe_runner.ts";
import type { Processes, RunningProcess } from "./process.ts";

/** The kubelet leaves at least this much between the stop signal and SIGKILL, also when preStop used up the grace. */
const MIN_STOP_MS = 2000;

/** What is otherwise with a container that krun itself adds to the Pod, such as the mesh's proxy. */
export interface OwnContainer {
  /** Takes each line of its output, which is not krun's own. Must not throw. */
  onLine(line: string): void;
  /** Resolves when it has started; asked at each start, instead of its startup probe, which could look no more than once a second. */
  untilStarted(over: AbortSignal): Promise<void>;
  /** Called at the beginning of the Pod's stop: no container is told of that before it resolves. Must not reject. */
  onStop(stop: StopBeginning): Promise<void>;
  /**
   * Called when its turn to be signalled has come, as long as it runs: lets it end in its own way, and SIGTERM comes when this
   * resolves. `over`: it has ended, or there is no more time. Must not reject.
   */
  end(over: AbortSignal): Promise<void>;
}

/** The beginning of a stop. */
export interface StopBeginning {
  /** Aborted: there is no more time. */
  readonly over: AbortSignal;
  /** Containers run that have work to end; else they have ended by themselves. */
  readonly othersRun: boolean;
}

/** Options of {@linkcode Container}. */
export interface ContainerOptions {
  readonly pod: V1Pod;
  readonly role: ContainerRole;
  readonly processes: Processes;
  readonly runAs: RunAs;
  /** Makes ready what each start must find anew: the subPath mounts. */
  prepare(): void;
  /** The whole environment, fresh at each start. */
  env(): Env;
  /** Told of each start. */
  onStart?(container: string, pid: number): void;
  /** The program that the terminal belongs to. @default {false} */
  readonly foreground?: boolean;
  /** It is krun's own: signals are for its first process alone, which ends the others in order. */
  readonly own?: OwnContainer | undefined;
  readonly log: Logger;
  readonly clock: Clock;
}

/** One run of the container's process. */
interface Instance {
  readonly process: RunningProcess;
  /** How its hooks and probes reach it, with the environment that it was started with. */
  readonly target: ProbeTarget;
  /** Aborted when the process has ended: ends its probes and hooks. */
  readonly over: AbortController;
  readonly postStarted: Promise<void>;
  /** Resolves when its probes have ended. */
  probed: Promise<void>;
  /** Set by whoever stops it, so that a second stop joins the first. */
  stopping?: Promise<void>;
}

/** What {@linkcode Container.stop} is told. */
export interface StopOptions {
  /** Milliseconds from the request to SIGKILL, preStop included. */
  readonly graceMs: number;
  /** A sidecar's stop signal waits for this; its preStop does not. */
  readonly turn?: Promise<unknown>;
  /** Aborted: no more waiting, SIGKILL now. */
  readonly hurry: AbortSignal;
}

/** State of a container for the status page. */
export interface ContainerStatus {
  readonly name: string;
  readonly pid: number | undefined;
  readonly started: boolean;
  readonly ready: boolean;
  readonly restarts: number;
  readonly lastEnd: ChildEnd | undefined;
}

/** One container of a Pod on this machine. */
export class Container {
  readonly name: string;
  readonly #spec: V1Container;
  readonly #options: ContainerOptions;
  readonly #noMore = new AbortController();
  /** Aborted: whatever stop is under way waits no longer. */
  readonly #hurry = new AbortController();
  readonly #startedOnce = Promise.withResolvers<void>();
  #instance: Instance | undefined;
  #lastEnd: ChildEnd | undefined;
  #restartCount = 0;
  #restartAsked = false;
  /** In its present run. */
  #hasStarted = false;
  readonly #probes: ProbeRunner;

  /** @throws {KrunError} `PodInvalid` for a probe that the API server would refuse. */
  constructor(spec: V1Container, options: ContainerOptions) {
    this.name = spec.name;
    this.#spec = spec;
    this.#options = options;
    const { role, clock, log, own } = options;
    const { startupProbe: _, ...unprobed } = spec;
    this.#probes = new ProbeRunner(own ? unprobed : spec, { role, clock, log, stopping: () => this.#stopping });
  }

  get #stopping(): boolean {
    return this.#noMore.signal.aborted;
  }

  /** Resolves when the container has started for the first time: it runs and its startup probe, if any, succeeded. */
  get startedOnce(): Promise<void> {
    return this.#startedOnce.promise;
  }

  /** Resolves when the postStart hook of the present run has ended; the next container is not started before. */
  get postStarted(): Promise<void> {
    return this.#instance?.postStarted ?? Promise.resolve();
  }

  status(): ContainerStatus {
    const pid = this.#instance?.process.pid;
    return {
      name: this.name,
      pid,
      started: this.#hasStarted,
      ready: this.#hasStarted && this.#probes.ready,
      restarts: this.#restartCount,
      lastEnd: this.#lastEnd,
    };
  }

  /**
   * Starts the process at once, and again by the Pod's restart policy with back-off, until it will not be started any more;
   * resolves to its last end, `undefined` when it was stopped before it ever ran. A later start that fails, since a Secret or
   * the program is gone for the moment, is tried again with back-off, as the kubelet does.
   *
   * @throws {KrunError} when the first start fails: `ProgramNotFound`, `ProgramNotExecutable`, `RunAsDenied`, `PodInvalid`,
   * `KeyNotFound`, `ObjectNotFound`.
   */
  async run(): Promise<ChildEnd | undefined> {
    const { clock } = this.#options;
    let backoff: RestartBackoff | undefined;
    for (let instance: Instance | undefined = this.#start(); !this.#stopping; instance = this.#startAgain()) {
      if (instance) await this.#untilEnd(instance);
      const finishedAtMs = clock.elapsedMs();
      if (!this.#restartAsked) {
        if (instance && !this.#restarts(this.#lastEnd!)) break;
        await this.#pause(restartDelayMs(backoff, finishedAtMs));
        backoff = stepRestart(backoff, { finishedAtMs, nowMs: clock.elapsedMs() });
      }
      this.#restartAsked = false;
      if (this.#stopping) break;
      this.#restartCount++;
    }
    return this.#lastEnd;
  }

  async #untilEnd(instance: Instance): Promise<void> {
    this.#lastEnd = await instance.process.ended;
    await this.#cleanUp(instance);
    this.#options.log.info("container ended", { container: this.name, status: exitStatus(this.#lastEnd) });
  }

  async #pause(waitMs: number): Promise<void> {
    const { clock, log } = this.#options;
    log.warn("container restarts", { container: this.name, seconds: waitMs / 1000 });
    await clock.sleep(waitMs, this.#noMore.signal);
  }

  #startAgain(): Instance | undefined {
    try {
      return this.#start();
    } catch (cause) {
      if (!(cause instanceof KrunError)) throw cause;
      this.#options.log.error("container cannot be started again", { container: this.name, reason: cause.message });
      return undefined;
    }
  }

  /** Ends the process, politely first, and does not start it again. A second call joins the first. */
  async stop(options: StopOptions): Promise<void> {
    this.#noMore.abort();
    const hurry = () => this.#hurry.abort();
    if (options.hurry.aborted) hurry();
    options.hurry.addEventListener("abort", hurry, { once: true });
    if (this.#instance) await this.#stopInstance(this.#instance, options);
  }

  /**
   * Ends the process, politely first, and starts it at once with a fresh environment, whatever the restart policy. Leaves it
   * alone while that environment cannot be made, because an object is gone: the last one is better than none.
   */
  async restart(options: StopOptions): Promise<void> {
    if (!this.#instance || this.#stopping) return;
    try {
      this.#options.env();
    } catch (cause) {
      if (!(cause instanceof KrunError)) throw cause;
      this.#options.log.warn("container is not restarted", { container: this.name, reason: cause.message });
      return;
    }
    this.#restartAsked = true;
    await this.#stopInstance(this.#instance, options);
  }

  /** Sends a signal to the process group of the present run, if there is one. */
  kill(signal: number): void {
    this.#instance?.process.kill(signal);
  }

  #start(): Instance {
    const { processes, foreground, log, onStart, own } = this.#options;
    this.#options.prepare();
    const env = this.#options.env();
    const command = containerCommand(this.#spec, env);
    if (command === undefined) {
      throw new KrunError(
        "PodInvalid",
        `Cannot run container "${this.name}": it has no command, and krun does not read images`,
        "give it a command, or name the program after krun",
      );
    }
    const process = processes.start({
      ...command,
      ...this.#place(env),
      foreground: foreground ?? false,
      stdio: foreground ? "inherit" : "stdin-null",
      ...(own && { onLine: (line: string) => own.onLine(line), signalAlone: true }),
      container: this.name,
    });
    onStart?.(this.name, process.pid);
    // The first start is told in the summary of the whole start.
    log[this.#restartCount > 0 ? "info" : "debug"]("container started", {
      container: this.name,
      pid: process.pid,
      restarts: this.#restartCount,
    });
    const over = new AbortController();
    const target = this.#target(env);
    const postStarted = this.#postStart(process, { target, over: over.signal });
    const instance: Instance = { process, target, over, postStarted, probed: Promise.resolve() };
    this.#instance = instance;
    instance.probed = this.#probes.run(target, {
      over: over.signal,
      onStarted: () => void this.#untilStarted(over.signal),
      fail: (reason, graceSeconds) => {
        log.error("container is killed", { container: this.name, reason });
        void this.#stopForFault(instance, graceSeconds);
      },
    });
    return instance;
  }

  async #untilStarted(over: AbortSignal): Promise<void> {
    await this.#options.own?.untilStarted(over);
    if (over.aborted) return;
    this.#hasStarted = true;
    this.#startedOnce.resolve();
  }

  #restarts(end: ChildEnd): boolean {
    const { role, pod } = this.#options;
    const policy = (pod.spec?.restartPolicy ?? "Always") as RestartPolicy;
    return shouldRestart({ role, policy, exitCode: exitStatus(end), stopping: this.#stopping });
  }

  /** Environment, working directory and user: the same for the process, its probes and its hooks. */
  #place(env: Env) {
    const cwd = this.#spec.workingDir;
    return { env, ...this.#options.runAs, ...(cwd ? { cwd } : {}) };
  }

  #target(env: Env): ProbeTarget {
    const { processes, clock } = this.#options;
    return {
      container: this.#spec,
      host: "127.0.0.1",
      clock,
      run: async (argv, signal) => {
        const child = processes.start({ argv, ...this.#place(env), stdio: "null", container: this.name });
        const onAbort = () => child.kill(SIGKILL);
        if (signal.aborted) onAbort();
        signal.addEventListener("abort", onAbort, { once: true });
        return await child.ended.finally(() => signal.removeEventListener("abort", onAbort));
      },
    };
  }

  async #postStart(
    process: RunningProcess,
    { target, over }: { target: ProbeTarget; over: AbortSignal },
  ): Promise<void> {
    const hook = this.#spec.lifecycle?.postStart;
    if (!hook) return;
    const reason = await runHook(hook, target, over);
    if (reason === undefined || over.aborted) return;
    this.#options.log.error("container is killed", { container: this.name, reason: `postStart hook: ${reason}` });
    if (this.#instance?.process === process) void this.#stopForFault(this.#instance);
  }

  /** Ends what belonged to a run whose process is gone. */
  async #cleanUp(instance: Instance): Promise<void> {
    instance.over.abort();
    this.#instance = undefined;
    this.#hasStarted = false;
    // With its first process a container ends whole; what is left of it would hold its ports. Its process group goes at once, and
    // also where the kernel cannot mark what belongs to a container.
    instance.process.kill(SIGKILL);
    await Promise.all([instance.postStarted, instance.probed, instance.stopping]);
    await this.#options.processes.endContainer(this.name);
  }

  #stopForFault(instance: Instance, graceSeconds?: number): Promise<void> {
    const seconds = graceSeconds ?? this.#options.pod.spec?.terminationGracePeriodSeconds ?? 30;
    return this.#stopInstance(instance, { graceMs: seconds * 1000 });
  }

  #stopInstance(instance: Instance, options: Omit<StopOptions, "hurry">): Promise<void> {
    return instance.stopping ??= this.#terminate(instance, options);
  }

  async #terminate(instance: Instance, options: Omit<StopOptions, "hurry">): Promise<void> {
    const { process, over } = instance;
    const { graceMs, turn } = options;
    const hurry = this.#hurry.signal;
    const { clock, log, own } = this.#options;
    const deadlineMs = clock.elapsedMs() + graceMs;
    await this.#beforeStop(instance, graceMs);
    if (turn) await Promise.race([turn, process.ended]);
    const patience = AbortSignal.any([over.signal, hurry]);
    const leftMs = () => Math.max(0, deadlineMs - clock.elapsedMs());
    await own?.end(AbortSignal.any([patience, clock.deadline(leftMs())]));
    process.kill(SIGTERM);
    const remainingMs = Math.max(own ? 0 : MIN_STOP_MS, leftMs());
    const ended = process.ended.then(() => true);
    if (await Promise.race([ended, clock.sleep(remainingMs, patience).then(() => false)])) return;
    process.kill(SIGKILL);
    log.warn("container did not end in time and is killed", { container: this.name });
    await process.ended;
  }

  /** The preStop hook, for as long as there is time. */
  async #beforeStop({ target, over }: Instance, graceMs: number): Promise<void> {
    const { clock, log } = this.#options;
    const preStop = this.#spec.lifecycle?.preStop;
    if (!preStop || over.signal.aborted) return;
    const limit = new AbortController();
    using cut = new AnySignal([over.signal, this.#hurry.signal, limit.signal]);
    void clock.sleep(graceMs, cut.signal).then(() => limit.abort());
    const reason = await runHook(preStop, target, cut.signal);
    limit.abort();
    if (reason !== undefined) log.warn("preStop hook failed", { container: this.name, reason });
  }
}
