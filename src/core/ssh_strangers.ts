/**
 * Clients that have not logged in, of which there are only so many. In: whose they are, and how far they have come. Out: which of them
 * makes room for another one.
 *
 * @module
 */
import { oldestOfMost } from "./client_network.ts";

/** How far a login has come: nothing but a connection, keys were exchanged, a login was tried. */
export type LoginStage = "connected" | "keyed" | "trying";

/** Whoever has come least far comes first. */
const STAGES: readonly LoginStage[] = ["connected", "keyed", "trying"];

/** A client that has not logged in. */
export interface SshStranger {
  /** As `clientNetwork` has it. */
  readonly network: string | undefined;
  readonly stage: LoginStage;
}

/**
 * Which of these, the oldest first, has to go for another one; none: -1. Of those who have come least far the oldest of the network that
 * has most, so that who only connects takes no place from somebody at a prompt. Each stage keeps a third of the places: else whoever holds
 * all the others by logins without end would leave those who come a single one.
 */
export function strangerToGo(strangers: readonly SshStranger[]): number {
  const at = (wanted: LoginStage) =>
    strangers.flatMap(({ stage, network }, index) => stage === wanted ? [{ network, index }] : []);
  const crowd = STAGES.map(at).find(({ length }) => 3 * length >= strangers.length) ?? [];
  return crowd[oldestOfMost(crowd.map(({ network }) => network))]?.index ?? -1;
}
