/**
 * What one event of a watch means for somebody who follows one object. Pure: the state before and an event come in, the state
 * after it and what is to be told go out.
 *
 * Rules: https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists
 *
 * @module
 */
import type { WatchedObject } from "./cluster.ts";

/** One line of a watch, as the API server sends it. */
export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

/** A version of the object that the follower has been told of: `null` when it was told that there is none. */
export type ToldVersion = { readonly uid: string; readonly resourceVersion: string } | null;

/** Where a follower stands. */
export interface WatchState {
  /** `undefined`: nothing was told yet, so that absence is news as well. */
  readonly told: ToldVersion | undefined;
  /** From where a later watch can go on; `undefined`: it must begin with the state of the world. */
  readonly resourceVersion: string | undefined;
  /** The server has yet to say that all of the initial state was sent. */
  readonly initial: boolean;
  /** Whether the initial state held the object. */
  readonly found: boolean;
  /** Events up to this version are older than what was read beside the watch, and are passed over. */
  readonly readAt: string | undefined;
}

/** What an event leads to. */
export interface WatchStep {
  readonly state: WatchState;
  /** The version to tell of, if it is news; `undefined` inside: the object is gone. */
  readonly tell?: { readonly object: WatchedObject | undefined };
  /** The server ended the watch with this Status. */
  readonly failure?: WatchFailure;
}

/** The Status of an ERROR event. */
export interface WatchFailure {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly retryAfterSeconds: number | undefined;
}

/** State of a follower who knows of `known`: an object, `null` for none, `undefined` for nothing. */
export function initialWatchState(known: WatchedObject | null | undefined): WatchState {
  const told = known === null ? null : known && versionOf(known);
  return { told, resourceVersion: undefined, initial: true, found: false, readAt: undefined };
}

/** The state for a new watch that begins with the state of the world, whatever came before. */
export function fromTheBeginning(state: WatchState): WatchState {
  return { told: state.told, resourceVersion: undefined, initial: true, found: false, readAt: undefined };
}

/**
 * What a read beside the watch says, for servers that do not mark the end of the initial state. The watch was open before the
 * read, so that nothing falls between the two; events that the read has already seen are passed over.
 */
export function stepRead(state: WatchState, object: WatchedObject | undefined): WatchStep {
  const readAt = object?.metadata?.resourceVersion;
  return told({ ...state, initial: false, found: object !== undefined, readAt }, object);
}

/** What one event means. Events of an unknown type are passed over. */
export function stepEvent(state: WatchState, { type, object }: WatchEvent): WatchStep {
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return stepObject(state, type, object as WatchedObject);
    case "BOOKMARK":
      return stepBookmark(state, object as WatchedObject);
    case "ERROR":
      return { state, failure: failureOf(object) };
    default:
      return { state };
  }
}

function stepObject(state: WatchState, type: string, object: WatchedObject): WatchStep {
  const version = object.metadata?.resourceVersion;
  if (state.readAt !== undefined && version !== undefined && !isAfter(version, state.readAt)) return { state };
  const next = { ...state, resourceVersion: state.initial ? undefined : version, found: true };
  return told(next, type === "DELETED" ? undefined : object);
}

function stepBookmark(state: WatchState, bookmark: WatchedObject): WatchStep {
  const { resourceVersion, annotations } = bookmark.metadata ?? {};
  if (!state.initial) return { state: { ...state, resourceVersion } };
  if (annotations?.["k8s.io/initial-events-end"] !== "true") return { state };
  const next = { ...state, resourceVersion, initial: false };
  return state.found ? { state: next } : told(next, undefined);
}

/** The same uid and resourceVersion are the same content, so only another pair is news. */
function told(state: WatchState, object: WatchedObject | undefined): WatchStep {
  const version = object ? versionOf(object) : null;
  const old = state.told;
  const same = old === null || version === null || old === undefined
    ? old === version
    : old.uid === version.uid && old.resourceVersion === version.resourceVersion;
  return same ? { state } : { state: { ...state, told: version }, tell: { object } };
}

function versionOf({ metadata }: WatchedObject): ToldVersion {
  return { uid: metadata?.uid ?? "", resourceVersion: metadata?.resourceVersion ?? "" };
}

/** Versions of one API server's etcd are increasing numbers (KEP-5504); what is not a number counts as after. */
function isAfter(version: string, other: string): boolean {
  const numbers = /^\d+$/;
  return !numbers.test(version) || !numbers.test(other) || BigInt(version) > BigInt(other);
}

function failureOf(object: unknown): WatchFailure {
  const { code, reason, message, details } = (object ?? {}) as Record<string, unknown>;
  const seconds = (details as Record<string, unknown> | undefined)?.retryAfterSeconds;
  return {
    code: typeof code === "number" ? code : 500,
    reason: typeof reason === "string" ? reason : "",
    message: typeof message === "string" ? message : "the watch ended with an error",
    retryAfterSeconds: typeof seconds === "number" ? seconds : undefined,
  };
}
