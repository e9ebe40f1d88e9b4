import assert from "node:assert/strict";
import { Connections, WATCHES_PER_CONNECTION } from "./connections.ts";

class FakeLink {
  closed = false;

  close(): void {
    assert.ok(!this.closed, "closed twice");
    this.closed = true;
  }
}

function connections() {
  const links: FakeLink[] = [];
  const all = new Connections(() => {
    const link = new FakeLink();
    links.push(link);
    return link;
  });
  return { all, links };
}

Deno.test("Connections.take() gives calls one connection, and watches others of at most 90 each", () => {
  const { all, links } = connections();
  const calls = Array.from({ length: 500 }, () => all.take("calls", undefined));
  assert.equal(new Set(calls).size, 1);
  const watches = Array.from({ length: 200 }, () => all.take("watches", undefined));
  assert.equal(new Set(watches).size, Math.ceil(200 / WATCHES_PER_CONNECTION));
  assert.ok(!watches.includes(calls[0]!));
  // A place that became free is taken before a new connection is made.
  watches[0]!.leave();
  assert.equal(all.take("watches", undefined), watches[0]);
  assert.equal(links.length, 4);
});

Deno.test("Connection.retire() lets what runs end, takes nothing new, and closes once", () => {
  const { all, links } = connections();
  const first = all.take("calls", undefined);
  assert.equal(all.take("calls", undefined), first);
  first.retire();
  first.retire();
  assert.notEqual(all.take("calls", undefined), first);
  first.leave();
  assert.equal(links[0]!.closed, false);
  first.leave();
  assert.equal(links[0]!.closed, true);
});

Deno.test("Connections.take() retires the connections of a former certificate", () => {
  const { all, links } = connections();
  const [former, renewed] = [{ cert: "a", key: "a" }, { cert: "b", key: "b" }];
  all.take("calls", former).leave();
  const watch = all.take("watches", former);
  all.take("calls", renewed);
  assert.deepEqual(links.map((l) => l.closed), [true, false, false]);
  watch.leave();
  assert.deepEqual(links.map((l) => l.closed), [true, true, false]);
});

Deno.test("Connections.retireAll() closes what is idle at once", () => {
  const { all, links } = connections();
  all.take("calls", undefined).leave();
  const watch = all.take("watches", undefined);
  all.retireAll();
  assert.deepEqual(links.map((l) => l.closed), [true, false]);
  watch.leave();
  assert.deepEqual(links.map((l) => l.closed), [true, true]);
});
