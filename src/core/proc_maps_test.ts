import assert from "node:assert/strict";
import fc from "fast-check";
import { mappedCode } from "./proc_maps.ts";

const MAPS = `\
555500000000-555500001000 r--p 00000000 fe:00 12                         /usr/bin/krun
555500001000-555500003000 r-xp 00001000 fe:00 12                         /usr/bin/krun
555500003000-555500004000 rw-p 00003000 fe:00 12                         /usr/bin/krun
555500004000-555500005000 rwxp 00000000 00:00 0
7f0000000000-7f0000002000 r-xp 00000000 fe:00 13                         /usr/lib/libc.so.6
7f0000002000-7f0000004000 r-xp 00000000 fe:00 12                         /usr/bin/krun (deleted)
7f0000004000-7f0000005000 r-xp 00001000 fe:00 12                         /usr/bin/krun
7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]
`;

Deno.test("mappedCode() is what is executable and never written of that file alone", () => {
  assert.deepEqual(mappedCode(MAPS, "/usr/bin/krun"), [
    { start: 0x555500001000n, bytes: 0x2000n },
    { start: 0x7f0000004000n, bytes: 0x1000n },
  ]);
  assert.deepEqual(mappedCode(MAPS, "/usr/bin/other"), []);
});

Deno.test("mappedCode() takes any text", () => {
  fc.assert(fc.property(fc.string(), fc.string(), (maps, path) => {
    for (const { bytes } of mappedCode(maps, path)) assert.equal(typeof bytes, "bigint");
  }));
});
