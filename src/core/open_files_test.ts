import assert from "node:assert/strict";
import { callersDescriptors } from "./open_files.ts";

const limits = (soft: string) =>
  `Limit                     Soft Limit           Hard Limit           Units     \n` +
  `Max processes             96365                96365                processes \n` +
  `Max open files            ${soft.padEnd(20)} 524288               files     \n`;

Deno.test("callersDescriptors() is half of what the process may have, and not more than anybody needs", () => {
  assert.equal(callersDescriptors(limits("1024")), 512);
  assert.equal(callersDescriptors(limits("65")), 32);
  assert.equal(callersDescriptors(limits("1048576")), 8192);
  assert.equal(callersDescriptors(limits("unlimited")), 8192);
});

Deno.test("callersDescriptors() takes the usual limit where it cannot be read", () => {
  for (const text of [undefined, "", "Max open files\n"]) assert.equal(callersDescriptors(text), 512);
});
