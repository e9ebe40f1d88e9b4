import assert from "node:assert/strict";
import { accountNames } from "./account_names.ts";
import { processLine, processTitles } from "./ps_lines.ts";

const accounts = accountNames({ passwd: "root:x:0:0::/:\n", group: "" });
const stat = (pid: number, name: string, flags = 4194304) =>
  `${pid} (${name}) S 1 ${pid} 1 0 -1 ${flags} 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0\n`;

Deno.test("processLine() shows programs with users' names; no threads of the kernel, nothing that has gone", () => {
  const texts = [
    { stat: stat(30, "sh ) x"), status: "Uid:\t1000\t1000\t1000\t1000\nVmRSS:\t   1234 kB\n", cmdline: "" },
    { stat: stat(7, "server"), status: "Uid:\t0\t0\t0\t0\n", cmdline: "/bin/server\0--port\0 80\0" },
    { stat: stat(2, "kthreadd", 0x0020_0040), status: "Uid:\t0\t0\t0\t0\n", cmdline: "" },
    { stat: "", status: "", cmdline: "" },
  ];
  assert.deepEqual([processTitles, ...texts.map((one) => processLine(one, accounts))], [
    "USER         PID    PPID STAT       RSS COMMAND",
    "1000          30       1 S        1234K [sh ) x]",
    "root           7       1 S           0K /bin/server --port  80",
    undefined,
    undefined,
  ]);
});
