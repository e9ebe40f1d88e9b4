/**
 * The containers of a Pod, in order: init, sidecars, the others; and their stop, the other way round. In: the Pod and how each
 * container is run. Out: how the Pod ended. Rules: Kubernetes v1.34 pkg/kubelet/kuberuntime (KEP-753 for sidecars).
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { AnySignal } from "../core/any_signal.ts";
import type { Clock } from "../core/clock.ts";
import { KrunError } from "../core/errors.ts";
import { type ChildEnd, exitStatus } from "../core/exit_status.ts";
import type { Logger } from "../core/log.ts";
import type { Env } from "../core/pod_inputs.ts";
import type { ContainerRole } from "../core/restart_backoff.ts";
import type { RunAs } from "../core/run_as.ts";
import {
  Container,
  type ContainerStatus,
  type OwnContainer,
  type StopBeginning,
  type StopOptions,
} from "./container.ts";
import type { Processes } from "./process.ts";

/** Options of {@linkcode Supervisor}. */
export interface SupervisorOptions {
  readonly pod: V1Pod;
  /** The container whose end is the end of the Pod and whose status is krun's. Unset: all regular ones must end. */
  readonly program?: string;
  readonly processes: Processes;
  /** Called before each start of a container: points its subPath mounts at what the volumes hold now. */
  prepare(container: V1Container): void;
  /** The whole environment of a container, fresh at each call. */
  env(container: V1Container): Env;
  runAs(container: V1Container): RunAs;
  /** Told of each start of a container. */
  onStart?(container: string, pid: number): void;
  /** Name → what is otherwise with a container that krun itself has added. @default {none} */
  readonly own?: ReadonlyMap<string, OwnContainer>;
  /** As {@linkcode OwnContainer.onStop}, for what is no container. @default {nothing} */
  onStop?(stop: StopBeginning): Promise<void>;
  readonly log: Logger;
  readonly clock: Clock;
}

/** How long what krun does first may keep a stop waiting, milliseconds. */
const BEFORE_STOP_MS = 2_000;

/**
 * What is left of the grace period for krun's own containers after all others, for their own end, and after them, for what krun
 * takes back of what it made for them; of a short one the given part. Milliseconds.
 */
const OWN_END = { ms: 500, part: 0.05 }, TAKE_BACK = { ms: 1_500, part: 0.1 };

/** Runs the containers of one Pod, once. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #init: Container[] = [];
  readonly #sidecars: Container[] = [];
  readonly #regular: Container[] = [];
  /** Spec order of init containers and sidecars, as they must start. */
  readonly #initOrder: { container: Container; sidecar: boolean }[] = [];
  readonly #hurry = new AbortController();
  readonly #stopAsked = new AbortController();
  #stopping: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    for (const spec of options.pod.spec?.initContainers ?? []) {
      const sidecar = spec.restartPolicy === "Always";
      const container = this.#container(spec, sidecar ? "sidecar" : "init");
      (sidecar ? this.#sidecars : this.#init).push(container);
      this.#initOrder.push({ container, sidecar });
    }
    for (const spec of options.pod.spec?.containers ?? []) this.#regular.push(this.#container(spec, "regular"));
  }

  #container(spec: V1Container, role: ContainerRole): Container {
    const { pod, processes, log, clock, program, prepare, env, runAs, onStart, own } = this.#options;
    return new Container(spec, {
      pod,
      role,
      processes,
      runAs: runAs(spec),
      prepare: () => prepare(spec),
      env: () => env(spec),
      foreground: spec.name === program,
      own: own?.get(spec.name),
      ...(onStart && { onStart }),
      log,
      clock,
    });
  }

  /** State of every container, in spec order. */
  status(): ContainerStatus[] {
    return [...this.#initOrder.map((i) => i.container), ...this.#regular].map((c) => c.status());
  }

  /** Every regular container and sidecar is ready. */
  get ready(): boolean {
    return [...this.#sidecars, ...this.#regular].every((c) => c.status().ready);
  }

  /** Sends a signal to the program's process group, or to every regular container where no program was named. */
  kill(signal: number): void {
    for (const container of this.#programs()) container.kill(signal);
  }

  /**
   * Runs init containers, sidecars and the others by kubelet's order, until the program ends or {@linkcode stop} is called;
   * then stops what is left. Resolves to the exit status: the program's, else the first that is not 0 in spec order.
   *
   * @throws {KrunError} what {@linkcode Container.run} throws, after everything that ran was stopped.
   */
  async run(): Promise<number> {
    const running: Promise<unknown>[] = [];
    try {
      const failed = await this.#runInit(running);
      if (failed !== undefined || this.#stopAsked.signal.aborted) return failed ?? 0;
      const ends: Promise<ChildEnd | undefined>[] = [];
      for (const container of this.#regular) {
        const end = container.run();
        ends.push(end);
        running.push(end);
        await Promise.race([container.postStarted, ...ends]);
      }
      return statusOf(await this.#programEnd(ends));
    } finally {
      await this.stop();
      await Promise.allSettled(running);
    }
  }

  /**
   * Stops everything. First krun and its own containers do what they do then; then all containers at once get preStop and SIGTERM,
   * sidecars get SIGTERM after the regular ones, in reverse order; SIGKILL after `terminationGracePeriodSeconds` in all, and
   * where krun has containers of its own so much earlier that these too have ended, and what was made for them is taken back,
   * within that time. A second call joins the first.
   */
  stop(): Promise<void> {
    this.#stopAsked.abort();
    return this.#stopping ??= this.#stopAll();
  }

  /** Shortens a stop that is under way: SIGKILL now. */
  hurry(): void {
    this.#hurry.abort();
  }

  /** Restarts the program with a fresh environment, whatever the restart policy says. Does nothing during a stop. */
  async restart(): Promise<void> {
    if (this.#stopAsked.signal.aborted) return;
    await Promise.all(this.#programs().map((c) => c.restart(this.#stopOptions())));
  }

  #programs(): Container[] {
    const { program } = this.#options;
    return program === undefined ? this.#regular : this.#regular.filter((c) => c.name === program);
  }

  #stopOptions(): StopOptions {
    return { graceMs: (this.#options.pod.spec?.terminationGracePeriodSeconds ?? 30) * 1000, hurry: this.#hurry.signal };
  }

  /** The exit status of a failed init container, which ends the Pod; `undefined` when all went well. */
  async #runInit(running: Promise<unknown>[]): Promise<number | undefined> {
    for (const { container, sidecar } of this.#initOrder) {
      if (this.#stopAsked.signal.aborted) return undefined;
      const end = container.run();
      if (sidecar) {
        running.push(end);
        await Promise.race([container.startedOnce.then(() => container.postStarted), end]);
        continue;
      }
      const status = statusOf([await end]);
      if (status !== 0) {
        this.#options.log.error("init container failed", { container: container.name, status });
        return status;
      }
    }
    return undefined;
  }

  async #programEnd(ends: readonly Promise<ChildEnd | undefined>[]): Promise<(ChildEnd | undefined)[]> {
    const { program } = this.#options;
    if (program === undefined) return await Promise.all(ends);
    const index = this.#regular.findIndex((c) => c.name === program);
    const end = ends[index];
    if (!end) throw new KrunError("Internal", `Cannot find container "${program}" in the Pod`, "report this");
    return [await end];
  }

  async #stopAll(): Promise<void> {
    const { graceMs, hurry } = this.#stopOptions();
    const leftMs = graceMs - await this.#beforeStop({ graceMs, hurry });
    const options = (c: Container) => ({ graceMs: leftMs - this.#reservedMs(c, graceMs), hurry });
    const regular = Promise.all([...this.#regular, ...this.#init].map((c) => c.stop(options(c))));
    let turn: Promise<unknown> = regular;
    for (const sidecar of this.#sidecars.toReversed()) turn = sidecar.stop({ ...options(sidecar), turn });
    await Promise.all([regular, turn]);
  }

  /** What of the grace period is not a container's. */
  #reservedMs({ name }: Container, graceMs: number): number {
    const { own } = this.#options;
    if (!own?.size) return 0;
    const parts = own.has(name) ? [TAKE_BACK] : [TAKE_BACK, OWN_END];
    return parts.reduce((sum, { ms, part }) => sum + Math.min(ms, graceMs * part), 0);
  }

  /** Lets krun and its own containers do what they do first. Resolves to the milliseconds that it took. */
  async #beforeStop({ graceMs, hurry }: StopOptions): Promise<number> {
    const { own = new Map<string, OwnContainer>(), onStop, clock } = this.#options;
    if (own.size === 0 && !onStop) return 0;
    const beganMs = clock.elapsedMs();
    const limit = new AbortController();
    using either = new AnySignal([hurry, limit.signal]);
    const over = either.signal;
    void clock.sleep(Math.min(BEFORE_STOP_MS, graceMs), over).then(() => limit.abort());
    const othersRun = [...this.#regular, ...this.#init].some((c) => !own.has(c.name) && c.status().pid !== undefined);
    const stop = { over, othersRun };
    await Promise.all([onStop?.(stop), ...[...own.values()].map((one) => one.onStop(stop))]);
    limit.abort();
    return clock.elapsedMs() - beganMs;
  }
}

/** The first status that is not 0, else 0. A container that never ran counts as 0. */
function statusOf(ends: readonly (ChildEnd | undefined)[]): number {
  return ends.map((end) => end ? exitStatus(end) : 0).find((status) => status !== 0) ?? 0;
}
