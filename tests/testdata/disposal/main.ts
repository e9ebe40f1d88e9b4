/** Prints what is opened and closed, in order: `using` in each form that a minifier may be tempted by. */
class Opened implements Disposable {
  constructor(readonly name: string) {
    console.log(`open ${name}`);
  }
  open(name: string): Opened {
    return new Opened(name);
  }
  [Symbol.dispose](): void {
    console.log(`close ${this.name}`);
  }
}

/** Read once, in the next statement. */
function returned(): string {
  using one = new Opened("returned");
  return one.name;
}

/** Read once, as the left side of a call. */
function walked(): Opened {
  let folder = new Opened("first");
  for (const name of ["second", "third"]) {
    using parent = folder;
    folder = parent.open(name);
  }
  return folder;
}

/** Never read. */
function held(): void {
  using _one = new Opened("held");
}

async function awaited(): Promise<string> {
  await using one = { name: "awaited", [Symbol.asyncDispose]: () => Promise.resolve(console.log("close awaited")) };
  return one.name;
}

returned();
walked()[Symbol.dispose]();
held();
await awaited();
