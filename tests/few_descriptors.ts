/**
 * A budget of descriptors that a test sets.
 *
 * @module
 */

/** So many, and how many of them are taken. */
export interface FewDescriptors {
  readonly taken: number;
  take(): Disposable | undefined;
}

/** Makes one. */
export function fewDescriptors(count: number): FewDescriptors {
  let taken = 0;
  return {
    get taken() {
      return taken;
    },
    take: () => {
      if (taken >= count) return undefined;
      taken++;
      return { [Symbol.dispose]: () => void taken-- };
    },
  };
}
